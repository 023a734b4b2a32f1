"""`ecg-node` as a person starts it: in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from core.settings import CONFIG_VARIABLE, PREFIX
from tests.conftest import ROOT
from tests.node import as_environment


def run_cli(words: Sequence[str], config: Path | None = None, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with these settings, or this file of them, and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment = {**inherited, **as_environment(settings), "PYTHONPATH": str(ROOT), "COLUMNS": "400"}
    if config is not None:
        environment[CONFIG_VARIABLE] = str(config)
    command = [sys.executable, "-m", "cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT)
