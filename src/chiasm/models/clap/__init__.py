"""CLAP: sounds and texts in one space."""
