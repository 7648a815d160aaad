"""A model of the engine with what prepares for it, as web workers and the library hold it. No torch."""

from chiasm.models.mini.recogniser import recogniser_of
from chiasm.preprocess import Embedder, ModelDescription, Preprocessor
from chiasm.preprocess.late import LatePreprocessor, ServedModel


def preprocessor_of(description: ModelDescription) -> Preprocessor:
    """The preprocessor of a model, with ears if the model has a lexicon."""
    return Preprocessor(description, recogniser_of(description))


def served_model(embedder: Embedder) -> ServedModel:
    """With a preprocessor that is made when the model is first used."""
    return ServedModel(embedder=embedder, preprocessor=LatePreprocessor(embedder, preprocessor_of))
