"""The systemd units start what there is, hardened, and systemd itself finds nothing wrong with them."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.settings import Settings
from records.database import open_database
from records.migrate import migrate
from records.processes import list_processes
from tests.conftest import ROOT, need_tool
from tests.operations.compose import services
from tests.servers import wait_until

FOLDER = ROOT / "systemd"
PROGRAM = "/opt/ecg-node/.venv/bin/ecg-node"
SERVICES = sorted(FOLDER.glob("*.service"))
LASTING = ["ecg-node-listen.service", "ecg-node-send.service", "ecg-node-console.service", "ecg-node-work@.service"]
ELSEWHERE = {"network-online.target", "postgresql.service", "redis-server.service"}


def _unit(path: Path) -> dict[str, list[str]]:
    """Every value of every key; keys of one unit do not clash between its sections."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def _words(path: Path) -> list[str]:
    (line,) = _unit(path)["ExecStart"]
    program, *words = shlex.split(line)
    assert program == PROGRAM
    return words


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_is_hardened_and_knows_its_settings(path: Path) -> None:
    unit = _unit(path)
    wanted = {"User": "ecg-node", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "UMask": "0077"}
    assert {key: unit[key][0] for key in wanted} == wanted
    assert set(unit["CapabilityBoundingSet"]) <= {"", "CAP_NET_BIND_SERVICE"}
    assert unit["SystemCallFilter"] == ["@system-service"]
    assert unit["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]
    for name in re.findall(r"ECG_NODE_(\w+)=", " ".join(unit["Environment"])):
        assert name.lower() in {*Settings.model_fields, "config"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.*")), ids=lambda path: path.name)
def test_a_unit_names_only_units_that_there_are(path: Path) -> None:
    known = {one.name for one in FOLDER.glob("*.*")} | ELSEWHERE | {"multi-user.target", "timers.target"}
    unit = _unit(path)
    for key in ("After", "Wants", "Requires", "PartOf", "WantedBy"):
        assert {name for value in unit.get(key, []) for name in value.split()} <= known


def test_a_machine_starts_the_same_commands_as_the_compose_file() -> None:
    """Which `test_services.py` runs."""
    ours = {name: one["command"] for name, one in services().items() if one["image"].startswith("ecg-node")}
    pairs = {"listener": "listen", "sender": "send", "console": "console", "worker": "work@", "migrate": "migrate"}
    for service, unit in pairs.items():
        assert _words(FOLDER / f"ecg-node-{unit}.service") == ours[service]


def test_a_process_that_dies_is_started_again_and_one_that_stops_has_time() -> None:
    for name in LASTING:
        unit = _unit(FOLDER / name)
        assert (unit["Restart"], unit["WantedBy"], unit["PartOf"]) == (["always"], *[["ecg-node.target"]] * 2)
        assert int(unit["TimeoutStopSec"][0]) >= 60
        assert unit["Requires"] == ["ecg-node-migrate.service"]


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    program = need_tool("systemd-analyze")
    for path in FOLDER.glob("*.*"):
        if path.suffix != ".conf":
            text = path.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true")
            (tmp_path / path.name.replace("@.", "@1.")).write_text(text, encoding="utf-8")
    for name in ("postgresql.service", "redis-server.service"):
        (tmp_path / name).write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    command = [program, "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, [line for line in checked.stderr.splitlines() if "ecg-node" in line]) == (0, [])


def test_users_and_folders_are_those_that_the_units_name() -> None:
    assert (FOLDER / "sysusers.conf").read_text(encoding="ascii").count("u ecg-node ") == 1
    folders = re.findall(r"^d (\S+) (\d+) (\S+)", (FOLDER / "tmpfiles.conf").read_text(encoding="ascii"), re.MULTILINE)
    assert {folder for folder, _mode, _owner in folders} >= {"/etc/ecg-node", "/var/lib/ecg-node"}
    assert all(int(mode, 8) & 0o007 == 0 for _folder, mode, _owner in folders)


def _catches_sigterm(pid: int) -> bool:
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.faults
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", LASTING)
def test_a_unit_comes_up_and_ends_in_order(name: str, make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    database = open_database(settings)
    migrate(database)
    environment = {key: text for key, text in os.environ.items() if not key.startswith("ECG_NODE_")}
    environment |= {"ECG_NODE_DATA_DIR": str(settings.data_dir), "ECG_NODE_LISTEN_PORT": "0"}
    environment |= {"ECG_NODE_CONSOLE_PORT": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli", *_words(FOLDER / name)]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.pid in {row.pid for row, _ago in list_processes(database)}, 110, f"{name} is ready")
        wait_until(lambda: _catches_sigterm(process.pid), 60, f"{name} listens to SIGTERM")
        process.send_signal(signal.SIGTERM)
        # systemd counts both as an end in order; uvicorn raises the signal again after it has closed
        assert process.wait(60) == 0
    finally:
        process.kill()
        database.close()


@pytest.mark.parametrize("name", ["ecg-node-backup", "ecg-node-retention"])
def test_what_runs_at_night_has_a_timer_and_a_command_that_there_is(name: str) -> None:
    assert _unit(FOLDER / f"{name}.timer")["WantedBy"] == ["timers.target"]
    words = [*_words(FOLDER / f"{name}.service"), "--help"]
    command = [shutil.which("env") or "env", sys.executable, "-m", "cli", *words]
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
