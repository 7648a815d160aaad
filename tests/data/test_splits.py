"""The held-out tenth never moves: a name that changed sides would put test concepts into training."""

from chiasm.data.builders.glossary import load_glossary
from chiasm.data.splits import held_out


def test_the_split_is_the_same_for_ever() -> None:
    names = ["cat", "dog", "bee", "key", "egg", "ship", "sun", "a black cat", "a red cat"]
    assert [name for name in names if held_out(name)] == ["ship", "a black cat"]


def test_case_and_outer_blanks_do_not_matter() -> None:
    assert held_out(" Ship\n")
    assert not held_out(" CAT ")


def test_about_one_name_in_ten_is_held_out() -> None:
    names = {entry.name.lower() for entry in load_glossary()}
    assert 0.085 < sum(map(held_out, names)) / len(names) < 0.115
