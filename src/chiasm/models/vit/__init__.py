"""ViT (Dosovitskiy et al. 2021), alone and as the picture side of the CLIP family."""
