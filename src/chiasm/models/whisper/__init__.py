"""Whisper (Radford et al. 2022): speech → text, from log-mel frames."""
