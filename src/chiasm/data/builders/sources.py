"""Where the raw sources of the default corpus come from, and how they are brought into one folder.

Everything is an ordinary package of npm, PyPI or Debian with a licence that allows training and
redistribution of what was learnt (NOTICE credits each). OpenMoji is share-alike: it is read for the test
set only.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chiasm.errors import DataError

NPM_PACKAGES: tuple[str, ...] = (
    "@iconify-json/noto@1.2.9",
    "@iconify-json/noto-v1@1.2.5",
    "@iconify-json/twemoji@1.2.5",
    "@iconify-json/fxemoji@1.2.2",
    "@iconify-json/fluent-emoji@1.2.7",
    "@iconify-json/fluent-emoji-flat@1.2.6",
    "@iconify-json/emojione@1.2.3",
    "@iconify-json/emojione-monotone@1.2.1",
    "@iconify-json/fluent-emoji-high-contrast@1.2.6",
    "@iconify-json/lucide@1.2.137",
    "@iconify-json/tabler@1.2.41",
    "@iconify-json/mdi@1.2.3",
    "@iconify-json/ph@1.2.2",
    "@iconify-json/game-icons@1.2.4",
    "@iconify-json/icon-park@1.2.4",
    "@iconify-json/temaki@1.2.6",
    "@iconify-json/maki@1.2.5",
    "@iconify-json/healthicons@1.2.13",
    "@iconify-json/fa6-solid@1.2.4",
    "@iconify-json/flat-color-icons@1.2.3",
    "@iconify-json/fluent-color@1.2.21",
    "@iconify-json/streamline-flex-color@1.2.2",
    "@iconify-json/streamline-sharp-color@1.2.2",
    "@iconify-json/streamline-plump-color@1.2.2",
    "@iconify-json/streamline-kameleon-color@1.2.2",
    "@iconify-json/streamline-ultimate-color@1.2.2",
    "@iconify-json/streamline-freehand-color@1.2.2",
    "@iconify-json/streamline-stickies-color@1.2.2",
    "@iconify-json/openmoji@1.2.29",
    "@lobehub/fluent-emoji-3d@1.1.0",
    "cldr-annotations-full@48.2.0",
    "cldr-annotations-derived-full@48.2.0",
)
DEBIAN_PACKAGES: tuple[str, ...] = (
    "openclipart-png",
    "fluid-soundfont-gm",
    "libespeak-ng1",
    "flite",
    "wordnet-base",
)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Folders in which the unpacked sources lie."""

    npm: Path
    clipart: Path = Path("/usr/share/openclipart/png")
    soundfont: Path = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
    wordnet: Path = Path("/usr/share/wordnet")

    def package(self, name: str) -> Path:
        """The folder of an npm package.

        Raises:
            DataError: it is not there.
        """
        folder = self.npm / "node_modules" / name
        if not folder.is_dir():
            raise DataError(
                f"expected the npm package {name} in {self.npm}; run `chiasm data sources`",
                f"{self.npm} 中缺少 npm 包 {name}；请先运行 `chiasm data sources`",
                param=name,
            )
        return folder


def bring(folder: Path) -> Sources:
    """Install the npm packages below ``folder`` and report which Debian packages are missing.

    Raises:
        DataError: npm is missing or failed, or a Debian package has to be installed first.
    """
    sources = Sources(npm=folder)
    _need_debian(sources)
    folder.mkdir(parents=True, exist_ok=True)
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            "expected npm on the PATH (Debian: apt-get install npm), found none",
            "PATH 中找不到 npm（Debian：apt-get install npm）",
            param="npm",
        )
    _run(
        [
            npm,
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(folder),
            *NPM_PACKAGES,
        ]
    )
    return sources


def _need_debian(sources: Sources) -> None:
    needed = (sources.clipart, sources.soundfont, sources.wordnet)
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        command = f"apt-get install {' '.join(DEBIAN_PACKAGES)}"
        raise DataError(
            f"missing {', '.join(missing)}; on Debian: {command}",
            f"缺少 {'、'.join(missing)}；在 Debian 上：{command}",
            param="sources",
        )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = done.stderr.strip()[-500:]
        raise DataError(f"{command[0]} failed: {tail}", f"{command[0]} 执行失败：{tail}", param="sources")
