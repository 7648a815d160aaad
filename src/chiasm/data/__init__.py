"""Data: builders of the default corpus, and its splits."""
