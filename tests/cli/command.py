"""`ecg-node` as an administrator runs it: a process of its own, settings in its environment."""

import os
import subprocess
import sys
from pathlib import Path

from core.settings import PREFIX
from tests.conftest import ROOT
from tests.node import as_environment


def environment_of(**settings: object) -> dict[str, str]:
    """Our environment with these settings of the node and no others."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return plain | as_environment(settings) | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}


def ecg_node(*words: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; what it wrote on both streams is in `stdout`."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, words)],
        env=environment_of(**settings),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
    )
