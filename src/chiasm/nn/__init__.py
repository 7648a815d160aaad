"""Textbook parts: attention, blocks, stems, positions, losses, the attention recorder."""
