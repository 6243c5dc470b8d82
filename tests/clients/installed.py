"""What tests/run has installed for the tests alone: whoever imports something of it imports this before."""

import pathlib, sys

TARGET = pathlib.Path(__file__).resolve().parents[2] / "target"
PYTHON = TARGET / "python"  # packages
SOURCES = TARGET / "sources"  # what packages leave out

sys.path.insert(0, str(PYTHON))
