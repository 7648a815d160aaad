"""Encoders of any modalities, fused early, late or at several layers."""
