"""A process that runs jobs in the folder it is given, until it is told to stop on its standard input."""

import sys
import time
from pathlib import Path

from chiasm.errors import InvalidInput
from chiasm.jobs.runner import JobRunner


def main(folder: Path, database_url: str) -> None:
    steps = folder / "steps"

    def count(context, params):
        """Does steps 0 … n-1 once each, whatever happens: what is written down is not done again."""
        done = steps.read_text().split() if steps.exists() else []
        for step in range(len(done), params["n"]):
            context.progress(step, params["n"])
            time.sleep(params["seconds"])
            with steps.open("a") as out:
                out.write(f"{step}\n")
        context.progress(params["n"], params["n"])
        return {"steps": params["n"]}

    def fail(context, params):
        raise InvalidInput("expected good luck, got bad", "运气不佳")

    def crash(context, params):
        raise ZeroDivisionError("a secret detail")

    def look(context, params):
        """Waits until there are as many others as expected, and says which they are."""
        end = time.monotonic() + 10
        while len(context.others()) != params["expected"] and time.monotonic() < end:
            time.sleep(0.05)
        return {"others": sorted(other["n"] for other in context.others())}

    functions = {"count": count, "fail": fail, "crash": crash, "look": look}
    with JobRunner(folder, functions, database_url=database_url):
        print("ready", flush=True)
        sys.stdin.readline()


main(Path(sys.argv[1]), sys.argv[2])
