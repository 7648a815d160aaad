"""The model card: what the model is, what it can and cannot do, and every figure that was measured."""

from chiasm.evaluation.report import Report
from chiasm.preprocess import ModelDescription

_HEAD = """# {name}

Revision `{revision}` · licence {licence} · {dimensions} dimensions ·
text, image, audio, video · Chinese and English

A small model that puts text, pictures, sound and clips into one space, to search any of them with any
other on a CPU. It stands on two published backbones, both Apache-2.0: all-MiniLM-L6-v2 (text), as
published for English, and EfficientNet-Lite0 (pictures), whose upper part learnt drawings. They and what
is above them were trained by `chiasm data build mini` and `chiasm train mini` on openly licensed drawings
and icons, synthesised voices and sounds, procedural clips and a Chinese-English glossary. NOTICE credits
every source.

## What it is good for

Everyday things in drawings, icons and photographs, by name, by description or by another picture, in
Chinese and English; colours of things; several things in one picture; instruments and everyday sounds;
how something in a clip moves; a picture together with words that change it.

## What it is not good for

- Reading text in pictures, counting, faces and persons, fine kinds of animals or cars.
- Free speech. A spoken word or short name is understood if it is in the lexicon; English from people
  goes through pocketsphinx. The audio tower has heard synthesised voices only; of the phonemes of voices
  that it has not heard it gets 30 % wrong in English and 22 % in Chinese.
- Photographs of what is neither among ImageNet's 1,000 classes nor drawn as an emoji or icon.
- Judging people or anything that matters to them. Its sources carry the views of those who drew and
  named them.

## What was measured

Test sets were read once for this revision. Shares with 95 % bootstrap intervals, beside chance and
trivial baselines.

"""


def model_card(description: ModelDescription, report: Report) -> str:
    """Markdown: the model, its limits, its figures."""
    head = _HEAD.format(
        name=description.name,
        revision=description.revision,
        licence=description.licence,
        dimensions=description.dimensions,
    )
    return head + report.to_markdown()
