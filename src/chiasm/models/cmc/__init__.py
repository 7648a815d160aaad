"""CMC: what several views of a thing have in common."""
