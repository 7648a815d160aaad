"""Web workers, the library process and the supervisor hold no torch; the engine's modules load it late."""

import subprocess
import sys

SCRIPT = """
import sys
from chiasm.serving import child, client, engine, rpc, supervisor
print(sorted({"torch", "flask", "typer", "sqlalchemy"} & set(sys.modules)))
"""


def test_importing_serving_loads_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
