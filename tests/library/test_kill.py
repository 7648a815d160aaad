import os
import subprocess
import sys
import time
from pathlib import Path

from library_fakes import settings_for, vector_of

from chiasm.library import Library

HERE = Path(__file__).parent
FILES = 400


def test_killed_in_the_middle_it_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    folder, data, notes = tmp_path / "media", tmp_path / "data", tmp_path / "notes"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.txt").write_text(f"text number {number}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    command = [sys.executable, str(HERE / "indexing_process.py"), str(data), str(folder), str(notes)]

    process = subprocess.Popen(command, env=environment)
    end = time.monotonic() + 30
    while not (notes.exists() and len(notes.read_text().splitlines()) >= 150):
        assert process.poll() is None, "it was done before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.wait()

    with Library(settings_for(data)) as library:
        kept = library.get_store("mine").files.get("completed", 0)
    assert 0 < kept < FILES
    notes.unlink()
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == [str(FILES - kept), str(kept)]
    assert len(notes.read_text().splitlines()) == FILES - kept
    with Library(settings_for(data)) as library:
        assert library.get_store("mine").files == {"completed": FILES}
        assert library.get_store("mine").segments == {"text": FILES}
        hit = library.search("mine", vector_of("text number 399"), "text")[0]
        assert hit.name == "399.txt"
