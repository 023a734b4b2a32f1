"""Real servers for tests, on loopback, each in a folder of its own, ended with the test."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.conftest import ROOT, need_tool


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], Any], deadline_s: float, what: str) -> Any:
    """Poll for an event that cannot be waited for otherwise; the truthy answer, or a failure that names it."""
    end = time.monotonic() + deadline_s
    while True:
        answer = done()
        if answer:
            return answer
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {deadline_s:g} s")
        time.sleep(0.02)


def end_process(process: subprocess.Popen[Any], how: signal.Signals = signal.SIGTERM, deadline_s: float = 20) -> int:
    """Signal a process that the test started, and wait for its end."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(deadline_s)
    return process.returncode


@dataclass
class PostgreSql:
    """A PostgreSQL cluster of the test's own."""

    folder: Path
    port: int
    programs: Path
    as_user: tuple[str, ...]

    @property
    def admin(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def make_database(self) -> str:
        """SQLAlchemy address of a new empty database."""
        name = f"t{time.monotonic_ns()}"
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def control(self, *words: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c max_connections=200 -k {self.folder}"
        command = [*self.as_user, str(self.programs / "pg_ctl"), "-w", "-D", str(self.folder / "data")]
        command += ["-l", str(self.folder / "log"), "-o", options, *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=60)

    def pid(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def _postgresql_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return found[0].parent if found else Path(need_tool("initdb")).parent


@contextmanager
def running_postgresql(folder: Path) -> Iterator[PostgreSql]:
    """PostgreSQL with its own data folder, as user postgres where the tests run as root."""
    programs = _postgresql_programs()
    as_user: tuple[str, ...] = ()
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        as_user = ("runuser", "-u", "postgres", "--")
        shutil.chown(folder, "postgres")
    server = PostgreSql(folder, free_port(), programs, as_user)
    subprocess.run(
        [*as_user, str(programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    server.control("start")
    try:
        yield server
    finally:
        server.control("-m", "immediate", "stop")


@dataclass
class Redis:
    """A Redis of the test's own, with a password and an append-only file, as production has it."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.url, socket_timeout=5).ping())
        except redis.RedisError:
            return False


@contextmanager
def started_redis(command: Sequence[str], server: Redis) -> Iterator[Redis]:
    """Run a Redis by this command until the end of the block."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or server.answers(), 60, "Redis answers")
        assert process.poll() is None, "Redis ended at once"
        yield server
    finally:
        end_process(process)


@contextmanager
def running_redis(folder: Path) -> Iterator[Redis]:
    """Debian's redis-server on loopback with the settings of docker/redis.conf and a password of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Redis(free_port(), secrets.token_hex(16))
    lines = (ROOT / "docker" / "redis.conf").read_text(encoding="ascii").splitlines()
    lines += ["bind 127.0.0.1", f"port {server.port}", f"dir {folder}", f"requirepass {server.password}"]
    config = folder / "redis.conf"
    config.write_text("\n".join(lines) + "\n", encoding="ascii")
    with started_redis([need_tool("redis-server"), str(config)], server):
        yield server
