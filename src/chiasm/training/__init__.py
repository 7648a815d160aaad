"""Training: stages, the one loop that runs them, and the recipe of the default model."""
