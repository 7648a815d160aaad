"""EfficientNet-Lite (Tan & Le 2019): the image trunk of chiasm-mini."""
