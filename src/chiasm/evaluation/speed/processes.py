"""What a process and everything that it started use, as Linux counts it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Sums over all processes.

    Attributes:
        processes: how many there are.
        cpu_seconds: user and system, with children that have ended.
        rss: bytes that are resident; a shared page counts in each process.
        pss: the same, but a shared page counts by halves, thirds, …
        descriptors, threads: that are open, that there are.
    """

    processes: int
    cpu_seconds: float
    rss: int
    pss: int
    descriptors: int
    threads: int


def usage(root: int) -> Usage:
    """Of a process and all its descendants, as they are now."""
    pids = family(root)
    stats = [fields for pid in pids if (fields := _stat(pid))]
    return Usage(
        processes=len(pids),
        cpu_seconds=sum(sum(int(ticks) for ticks in fields[11:15]) for fields in stats) / _TICKS,
        rss=sum(_bytes(pid, "Rss:") for pid in pids),
        pss=sum(_bytes(pid, "Pss:") for pid in pids),
        descriptors=sum(_descriptors(pid) for pid in pids),
        threads=sum(int(fields[17]) for fields in stats),
    )


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for pid in _all():
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def _all() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _stat(pid: int) -> list[str]:
    """proc(5)'s stat after the name, which may hold anything: state, parent, …; empty once it ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _bytes(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def _descriptors(pid: int) -> int:
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0
