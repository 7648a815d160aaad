"""ViT and BERT joined into one Transformer."""
