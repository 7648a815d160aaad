"""Models that somebody else computes."""
