"""A web process holds no weights, hence no torch."""

import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
from chiasm.api.server import application
from chiasm.settings import LibrarySettings, Settings

app = application(Settings(library=LibrarySettings(data_dir=Path(sys.argv[1]))), "ipc:///tmp/no", "ipc:///tmp/no")
assert callable(app.__rsgi__)
print(sorted(name for name in sys.modules if name in ("torch", "transformers")))
"""


def test_an_application_is_made_without_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
