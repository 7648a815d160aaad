"""How much memory processes take, as Linux tells it."""

from collections.abc import Mapping
from pathlib import Path

PROC = Path("/proc")
MOST = 1000  # processes of one family that are looked at


def resident_bytes(pid: int, proc: Path = PROC) -> int:
    """Resident memory of a process and of all that it started; 0 where there is no telling.

    Pages that several of them share count for each.
    """
    pages, todo, seen = 0, [pid], set[int]()
    while todo and len(seen) < MOST:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            pages += _pages(proc / str(one))
            todo += _children(proc / str(one))
    return pages * _page_size()


def resident_by_name(pids: Mapping[str, int], proc: Path = PROC) -> dict[str, int]:
    """:func:`resident_bytes` of each."""
    return {name: resident_bytes(pid, proc) for name, pid in pids.items()}


def _pages(folder: Path) -> int:
    try:
        return int((folder / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _children(folder: Path) -> list[int]:
    found: list[int] = []
    try:
        for task in (folder / "task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return found
    return found


def _page_size() -> int:
    import resource  # noqa: PLC0415  (not on every system)

    return resource.getpagesize()
