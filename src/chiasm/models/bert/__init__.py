"""BERT (Devlin et al. 2019): the text tower of chiasm-mini."""
