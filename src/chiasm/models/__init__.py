"""One folder for each architecture: config.py, model.py, import_weights.py."""
