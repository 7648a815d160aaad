"""The stages of the default model's recipe."""
