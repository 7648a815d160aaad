"""The recogniser that a model's lexicon describes. No torch: web workers and the library make one, too."""

from chiasm.models.mini.lexicon import Lexicon
from chiasm.preprocess import ModelDescription
from chiasm.preprocess.recognise import LexiconRecogniser


def recogniser_of(description: ModelDescription) -> LexiconRecogniser | None:
    """What hears the English words of the model's lexicon; None for a model without one.

    Raises:
        CheckpointError: the lexicon cannot be read.
    """
    if not description.lexicon:
        return None
    return LexiconRecogniser(Lexicon.from_bytes(description.lexicon).english())
