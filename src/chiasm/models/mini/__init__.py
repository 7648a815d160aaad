"""chiasm-mini, the default model."""
