"""What ImageNet's classes are kinds of, from WordNet 3.0's hypernyms."""

from pathlib import Path

from chiasm.errors import DataError

_HYPERNYM = frozenset({"@", "@i"})


def load_hypernyms(folder: Path) -> dict[str, list[str]]:
    """Synset id (``n02084071``) → ids of its direct hypernyms.

    Raises:
        DataError: WordNet's noun file is not there.
    """
    path = folder / "data.noun"
    if not path.is_file():
        raise DataError(
            f"expected WordNet's data.noun in {folder}",
            f"{folder} 中应有 WordNet 的 data.noun",
            param=str(path),
        )
    table: dict[str, list[str]] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith(" "):
                continue
            fields = line.split("|")[0].split()
            first = 4 + 2 * int(fields[3], 16)
            count = int(fields[first])
            pointers = [fields[first + 1 + 4 * i : first + 5 + 4 * i] for i in range(count)]
            table[f"n{fields[0]}"] = [f"n{p[1]}" for p in pointers if p[0] in _HYPERNYM and p[2] == "n"]
    return table


def load_lemmas(folder: Path) -> dict[str, list[str]]:
    """Synset id → its words, as a person writes them."""
    table: dict[str, list[str]] = {}
    with (folder / "data.noun").open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith(" "):
                fields = line.split("|")[0].split()
                words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                table[f"n{fields[0]}"] = [word.replace("_", " ").lower() for word in words]
    return table


def ancestors(synset: str, table: dict[str, list[str]]) -> list[str]:
    """All hypernyms, nearest first."""
    found: list[str] = []
    level = [synset]
    while level:
        level = [parent for child in level for parent in table.get(child, []) if parent not in found]
        found.extend(dict.fromkeys(level))
    return found
