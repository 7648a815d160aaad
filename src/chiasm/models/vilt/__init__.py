"""ViLT (Kim et al. 2021): words and patches through one Transformer, without a picture encoder of its own."""
