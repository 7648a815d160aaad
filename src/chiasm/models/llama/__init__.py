"""Llama-shaped decoders (Touvron et al. 2023): Llama, SmolLM, Qwen 2 and others."""
