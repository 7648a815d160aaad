"""``serve_web.py HOST PORT DATA_DIR ENGINE LIBRARY``: the web processes of a server, for the tests."""

import sys
from pathlib import Path

from api_fakes import settings_for

from chiasm.settings import ServerSettings
from chiasm.web import run_web

if __name__ == "__main__":
    host, port, data_dir, engine, library = sys.argv[1:]
    settings = settings_for(Path(data_dir), server=ServerSettings(host=host, port=int(port), threads=4))
    run_web(settings, engine, library)
