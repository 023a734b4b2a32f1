"""What the commands start: light processes, and nothing that outlives them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import environment_of
from tests.conftest import ROOT
from tests.servers import end_process, free_port, wait_until

NETWORK_LIBRARIES = ("tensorflow", "keras", "jax")


@pytest.mark.parametrize("command", ["listen", "send", "pacs"])
def test_a_light_process_runs_without_a_network_library(command: str, tmp_path: Path) -> None:
    """Every import of the process, from its start until it works, is on record; so is every file that it mapped."""
    settings = {"data_dir": tmp_path / "node", "listen_port": 0, "demo": "true", "log_level": "info"}
    database = ["-c", "from core.settings import *; from records.database import *; from records.migrate import *"]
    database[1] += "; migrate(open_database(read_settings()))"
    subprocess.run([sys.executable, *database], env=environment_of(**settings), cwd=ROOT, check=True, timeout=60)
    words = ["pacs", str(tmp_path / "pacs"), "--port", str(free_port())] if command == "pacs" else [command]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "cli", *words],
            env=environment_of(**settings),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: re.search(r'"ready"|listens on', (tmp_path / "log").read_text()), 90, f"{command} is ready")
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        end_process(process)
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", (tmp_path / "log").read_text(), re.MULTILINE))
    assert {"pydicom", "core.settings"} <= imported
    assert not [name for name in imported if name.split(".")[0] in NETWORK_LIBRARIES]
    assert not [name for name in NETWORK_LIBRARIES if f"/{name}/" in mapped]


def _descendants(pid: int) -> set[int]:
    """Processes that a process started, and those that these started, while all of them live."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            content = stat.read_text()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(content.rsplit(")", 1)[1].split()[1])
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def _alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()}


def _start_demo(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = environment_of() | {"TMPDIR": str(folder)}
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", "demo", *words],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def test_the_demo_shows_each_ecg_answered_and_at_the_pacs(tmp_path: Path) -> None:
    demo = _start_demo(tmp_path, "--exit")
    started: set[int] = set()
    while demo.poll() is None:
        started |= _descendants(demo.pid)
        time.sleep(0.2)
    said = (tmp_path / "output").read_text()
    assert demo.returncode == 0, said
    labels = "normal|abnormal heartbeat|myocardial infarction"
    answered = re.findall(rf"^(\S.*): ({labels}|cannot be judged: .*)$", said, re.MULTILINE)
    assert "12-lead waveform object" in dict(answered)
    assert dict(answered)["sheet drawn by formulas, of no patient"] in labels.split("|")
    assert len(re.findall(r"^  \d+ ms from its last byte", said, re.MULTILINE)) == len(answered)
    assert len(re.findall(r"^  SR +: /\S+\.dcm$", said, re.MULTILINE)) == len(answered)
    assert "Not verified by a physician" in re.sub(r"\s+", " ", said)
    assert len(started) >= 4, "broker, sender, worker and listener"
    assert _alive(started) == set()
    assert [path for path in tmp_path.iterdir() if path.name != "output"] == []


def test_ctrl_c_ends_every_process_that_the_demo_started(tmp_path: Path) -> None:
    demo = _start_demo(tmp_path)
    wait_until(lambda: len(_descendants(demo.pid)) >= 4, 90, "the demo has started its processes")
    started = _descendants(demo.pid)
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(90) == 1, "an ECG that was not answered is no success"
    assert _alive(started) == set()
