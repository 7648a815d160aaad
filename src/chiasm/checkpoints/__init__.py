"""Checkpoint folders: how a model is stored, verified and loaded."""

from chiasm.checkpoints.annotate import annotate
from chiasm.checkpoints.layout import resolve
from chiasm.checkpoints.load import Loaded, load, load_mini
from chiasm.checkpoints.save import save
from chiasm.checkpoints.weight import weight_of

__all__ = ["Loaded", "annotate", "load", "load_mini", "resolve", "save", "weight_of"]
