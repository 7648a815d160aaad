"""Fine-tuning of published models with two towers on pairs of pictures and texts."""

from chiasm.training.finetune.config import FinetuneConfig
from chiasm.training.finetune.result import FinetuneResult
from chiasm.training.finetune.run import finetune

__all__ = ["FinetuneConfig", "FinetuneResult", "finetune"]
