"""What a fresh process has loaded: no torch where none is needed."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "scipy")


def modules_after(code: str) -> set[str]:
    """The top-level modules of a new interpreter that has run ``code``."""
    tail = "\nimport sys\nprint(); print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import chiasm",
        "import chiasm; chiasm.Text, chiasm.Item, chiasm.errors",
        "import chiasm.settings, chiasm.media, chiasm.preprocess",
        "import chiasm.stores, chiasm.jobs, chiasm.library",
        "import chiasm.serving.client, chiasm.serving.batching, chiasm.serving.wire",
        "import chiasm.serving.supervisor",
        "from chiasm.cli.main import main; main(['--help'])",
        "from chiasm.cli.main import main; main(['search', '--help'])",
        "from chiasm.cli.main import main; main(['serve', '--print-settings'])",
    ],
)
def test_light_things_load_nothing_heavy(code: str) -> None:
    assert not modules_after(code).intersection(HEAVY)


def test_importing_chiasm_alone_loads_no_dependency_at_all() -> None:
    heavy = {"numpy", "flask", "typer", "zmq", "sqlalchemy", *HEAVY}
    assert not modules_after("import chiasm").intersection(heavy)


def test_the_web_application_holds_no_torch() -> None:
    assert not modules_after("import chiasm.api").intersection(HEAVY)


def test_help_needs_no_server_libraries() -> None:
    loaded = modules_after("from chiasm.cli.main import main; main(['--help'])")
    assert not loaded.intersection({"flask", "granian", "dbos", "sqlalchemy", "usearch", "av", *HEAVY})


def test_loading_a_model_leaves_torch_s_compiler_alone() -> None:
    """It takes seconds to import, and memory for good."""
    code = "import chiasm; chiasm.load()"
    assert not modules_after(code).intersection({"sympy", "mpmath"})
