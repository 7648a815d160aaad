"""Tasks: plain functions (model, batch) → result. No HTTP, no queue."""

from chiasm.tasks.classify import classify
from chiasm.tasks.embed import Embeds, embed

__all__ = ["Embeds", "classify", "embed"]
