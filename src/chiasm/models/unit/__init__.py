"""UniT (Hu & Singh 2021): one Transformer for several tasks over pictures, texts, and both."""
