"""How good a model is, beside chance and trivial baselines, and how fast the toolkit is."""
