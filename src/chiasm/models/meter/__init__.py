"""METER (Dou et al. 2022): a CLIP's ViT and a RoBERTa, fused by co-attention or by merged attention."""
