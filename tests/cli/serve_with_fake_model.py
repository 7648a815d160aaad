"""``chiasm serve`` as it is, but for the model: ``python serve_with_fake_model.py [OPTIONS of serve]``."""

import dataclasses
import sys

from chiasm.cli import processes
from chiasm.cli.main import main
from chiasm.serving.specs import ProcessSpec

real_specs = processes.specs


def with_fake_model(*args) -> list[ProcessSpec]:
    engine, *others = real_specs(*args)
    return [dataclasses.replace(engine, args={**engine.args, "loader": "cli_fakes:load"}), *others]


if __name__ == "__main__":
    processes.specs = with_fake_model
    sys.exit(main(["serve", *sys.argv[1:]]))
