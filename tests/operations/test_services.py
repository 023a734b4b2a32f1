"""The commands and health checks of docker-compose.yml, run as they stand there, two listeners and two workers.

The workers come up in `make faults` only.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import redis
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy import select

from core.settings import Destination, Settings
from core.states import EventKind, JobState
from dicom_node.pacs import ThrowAwayPacs
from dicom_node.scu import Outgoing, send
from records.audit import verify_trail
from records.database import Database, open_database
from records.processes import list_processes
from records.queries import find_summary
from records.tables import Job, TrailEvent
from tests.conftest import ROOT, need_root, need_tool
from tests.operations.compose import services
from tests.servers import PostgreSql, Redis, end_process, free_port, running_redis, started_redis, wait_until

pytestmark = pytest.mark.timeout(900)
SERVICES = services()
READY_S = 300.0
PUSHES_AT_MOST = 40


class Site:
    """The services of the compose file as processes of this machine, on one database, one Redis and one folder."""

    def __init__(self, folder: Path, secrets: Path, database_url: str, pacs_port: int) -> None:
        self.folder = folder
        self.secrets = secrets
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._more = {
            "ECG_NODE_DESTINATIONS__ORTHANC__HOST": "127.0.0.1",
            "ECG_NODE_DESTINATIONS__ORTHANC__PORT": str(pacs_port),
            "ECG_NODE_BATCH_SIZE": "1",
            "ECG_NODE_DISK_RESERVE_BYTES": "0",
            "ECG_NODE_DISK_RESERVE_FRACTION": "0",
        }
        self.database: Database = open_database(
            Settings(data_dir=folder, database_url=database_url, trail_key="k" * 48)
        )

    def environment(self, service: str) -> dict[str, str]:
        """A service's environment with this machine's paths; what binds everywhere there binds loopback here."""
        given: Mapping[str, str] = SERVICES[service]["environment"]
        here = {
            "/etc/ecg-node/ecg-node.toml": str(ROOT / "docker" / "dev.toml"),
            "/var/lib/ecg-node": str(self.folder),
            "0.0.0.0": "127.0.0.1",
            "11112": "0",
            "8480": "0",
        }
        found = {name: here.get(text, text).replace("/run/secrets", str(self.secrets)) for name, text in given.items()}
        return {**os.environ, **found, **self._more, "PYTHONPATH": str(ROOT)}

    def start(self, name: str, service: str) -> None:
        command = [sys.executable, "-m", "cli", *SERVICES[service]["command"]]
        with (self.folder.parent / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=self.environment(service), cwd=ROOT, stdin=subprocess.DEVNULL, stderr=log
            )

    def start_all(self, *names: str) -> None:
        for name in names:
            self.start(name, name.removesuffix("-2"))
        for name in names:
            self.wait_ready(name)

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            end_process(process, deadline_s=60)

    def wait_ready(self, name: str) -> None:
        process, log = self.processes[name], self.folder.parent / f"{name}.log"

        def ready() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            return process.pid in {row.pid for row, _ago in list_processes(self.database)}

        wait_until(ready, READY_S, f"{name} is ready")

    def healthy(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run a service's health check as the engine does."""
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        assert (kind, words[0]) == ("CMD", "ecg-node")
        command = [sys.executable, "-m", "cli", *words[1:]]
        environment = self.environment(service)
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )

    def address(self, name: str) -> Destination:
        pid = self.processes[name].pid
        (address,) = [row.address for row, _ago in list_processes(self.database) if row.pid == pid]
        return Destination(host="127.0.0.1", port=int(address.rsplit(":", 1)[1]), ae_title="ECGNODE")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([ROOT / "docker" / "make-secrets.sh", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def _redis_command(secrets: Path, folder: Path, port: int) -> list[str]:
    """The service's own command, with this machine's paths and a port on loopback."""
    shell, option, script = SERVICES["redis"]["command"]
    places = {
        "/usr/local/etc/redis/redis.conf": str(ROOT / "docker" / "redis.conf"),
        "/run/secrets": str(secrets),
        "/tmp/redis.conf": str(folder / "redis.conf"),
        "$$": "$",
    }
    for there, here in places.items():
        script = script.replace(there, here)
    return [shell, option, f"{script} --bind 127.0.0.1 --port {port} --dir {shlex.quote(str(folder))}"]


@pytest.fixture(scope="module")
def redis_server(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    need_tool("redis-server")
    server = Redis(free_port(), (secrets / "redis_password").read_text(encoding="ascii"))
    command = _redis_command(secrets, tmp_path_factory.mktemp("redis"), server.port)
    with started_redis(command, server):
        yield server


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("pacs")
    scp = ThrowAwayPacs(folder, "ORTHANC")
    yield folder, scp.start()
    scp.stop()


@pytest.fixture(scope="module")
def site(
    secrets: Path,
    redis_server: Redis,
    postgresql: PostgreSql,
    pacs: tuple[Path, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Two listeners, a sender and the console."""
    url = postgresql.make_database()
    for name, content in (("database_url", url), ("broker_url", redis_server.url), ("trail_key", "k" * 48)):
        (secrets / name).chmod(0o600)
        (secrets / name).write_text(content, encoding="ascii")
    running = Site(tmp_path_factory.mktemp("site") / "data", secrets, url, pacs[1])
    with ExitStack() as stack:
        stack.callback(running.database.close)
        running.start("migrate", "migrate")
        assert running.processes.pop("migrate").wait(120) == 0
        stack.callback(running.end)
        running.start_all("sender", "console", "listener", "listener-2")
        yield running


@pytest.fixture(scope="module")
def workers(site: Site) -> Site:
    """Two workers more."""
    site.start_all("worker", "worker-2")
    return site


def _ecg() -> Outgoing:
    ds = dcmread(str(get_testdata_file("waveform_ecg.dcm")))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    content = BytesIO()
    ds.save_as(content)
    return Outgoing(ds.SOPClassUID, ds.SOPInstanceUID, str(ds.file_meta.TransferSyntaxUID), content=content.getvalue())


def _workers_of(database: Database) -> set[str]:
    with database.reading() as session:
        query = select(TrailEvent.actor).where(TrailEvent.kind == EventKind.JOB_CLAIMED.value)
        return set(session.scalars(query))


@pytest.mark.faults
def test_two_listeners_and_two_workers_answer_every_ecg_exactly_once(workers: Site, pacs: tuple[Path, int]) -> None:
    site = workers
    places = [site.address("listener"), site.address("listener-2")]
    pushed: list[str] = []

    def push_to_both() -> bool:
        for place in places:
            ecg = _ecg()
            (outcome,) = send(place, "CART", [ecg], 60.0)
            assert outcome.status == 0x0000, outcome.text
            pushed.append(ecg.sop_instance_uid)
        return len(_workers_of(site.database)) == 2 or len(pushed) >= PUSHES_AT_MOST

    for _ in range(2):
        push_to_both()
    wait_until(push_to_both, 120, "both workers have claimed an ECG")

    def delivered() -> bool:
        found = [find_summary(site.database, uid) for uid in pushed]
        return all(one is not None and one.delivered for one in found)

    wait_until(delivered, 120, "every ECG is answered and delivered")
    reports = [uid for one in pushed for _kind, uid, _state in find_summary(site.database, one).reports]  # type: ignore[union-attr]
    assert len(reports) == len(set(reports)) == 2 * len(pushed)
    assert {path.stem for path in pacs[0].glob("*.dcm")} == set(reports)
    with site.database.reading() as session:
        jobs = session.scalars(select(Job)).all()
    assert [(job.state, job.attempt) for job in jobs] == [(JobState.DONE.value, 1)] * len(pushed)
    assert len(_workers_of(site.database)) == 2, "both workers had their share"
    assert verify_trail(site.database).fault is None


@pytest.mark.faults
def test_a_worker_that_runs_is_healthy(workers: Site) -> None:
    checked = workers.healthy("worker")
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


@pytest.mark.parametrize("service", ["listener", "sender", "console"])
def test_a_service_that_runs_is_healthy(service: str, site: Site) -> None:
    checked = site.healthy(service)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr


def test_a_listener_that_is_frozen_is_not_healthy(site: Site) -> None:
    """Its sign of life in the database is still young; only an answer tells."""
    listeners = [site.processes["listener"], site.processes["listener-2"]]
    for process in listeners:
        process.send_signal(signal.SIGSTOP)
    try:
        checked = site.healthy("listener")
        assert (checked.returncode, "no answer in time" in checked.stderr) == (1, True), checked.stderr
    finally:
        for process in listeners:
            process.send_signal(signal.SIGCONT)


def test_a_service_that_does_not_run_is_not_healthy(site: Site) -> None:
    assert end_process(site.processes["sender"], deadline_s=60) == 0
    checked = site.healthy("sender")
    assert (checked.returncode, "no such process" in checked.stderr) == (1, True), checked.stderr


def test_a_health_check_leaves_nothing_in_the_trail(site: Site) -> None:
    with site.database.reading() as session:
        kinds = set(session.scalars(select(TrailEvent.kind)))
    assert EventKind.ASSOCIATION_REJECTED.value not in kinds


def test_the_check_of_the_database_tells_up_from_down(postgresql: PostgreSql) -> None:
    kind, script = SERVICES["postgres"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    programs = f"{postgresql.programs}:{os.environ['PATH']}"
    for port, expected in ((postgresql.port, 0), (free_port(), 2)):
        environment = {**os.environ, "PATH": programs, "PGPORT": str(port)}
        assert subprocess.run(["sh", "-c", script], env=environment, timeout=30, check=False).returncode == expected


def test_the_check_of_redis_wants_its_password_and_its_memory_is_never_evicted(
    redis_server: Redis, secrets: Path
) -> None:
    _kind, script = SERVICES["redis"]["healthcheck"]["test"]
    script = script.replace("$$", "$").replace("redis-cli", f"redis-cli -p {redis_server.port}")
    right = script.replace("/run/secrets", str(secrets))
    wrong = script.replace("/run/secrets/redis_password", str(ROOT / ".gitignore"))
    found = [subprocess.run(["sh", "-c", one], capture_output=True, timeout=30, check=False) for one in (right, wrong)]
    assert (found[0].returncode, found[1].returncode) == (0, 1)
    client = redis.Redis.from_url(redis_server.url)
    wanted = {"appendonly": "yes", "maxmemory-policy": "noeviction", "appendfsync": "everysec"}
    assert {name: client.config_get(name)[name] for name in wanted} == wanted
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=redis_server.port).ping()


def test_wake_ups_outlive_a_restart_of_redis(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as first:
        client = redis.Redis.from_url(first.url)
        client.rpush("routine", "a wake-up")
        wait_until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, 30, "it is on disk")
    with running_redis(tmp_path / "redis") as second:
        assert redis.Redis.from_url(second.url).lrange("routine", 0, -1) == [b"a wake-up"]


def test_the_throw_away_orthanc_comes_up_with_its_own_command_and_is_found_healthy(
    secrets: Path, tmp_path: Path
) -> None:
    """In a network of its own, because it listens on every address."""
    need_root()
    service, program = SERVICES["orthanc"], need_tool("Orthanc")
    settings = tmp_path / "etc"
    settings.mkdir()
    own = (ROOT / "docker" / "orthanc.json").read_text(encoding="utf-8")
    (settings / "orthanc.json").write_text(own.replace("/var/lib/orthanc/db", str(tmp_path / "db")), encoding="utf-8")
    (settings / "users.json").write_bytes((secrets / "orthanc_users.json").read_bytes())
    (folder,) = service["command"]
    command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", program]
    with (tmp_path / "log").open("wb") as log:
        orthanc = subprocess.Popen([*command, folder.replace("/etc/orthanc", str(settings))], stdout=log, stderr=log)
    try:
        assert not _is_healthy(orthanc.pid, service)
        wait_until(lambda: _is_healthy(orthanc.pid, service), READY_S, "Orthanc is healthy")
        assert orthanc.poll() is None
    finally:
        end_process(orthanc)


def _is_healthy(pid: int, service: Mapping[str, Any]) -> bool:
    """The service's health check, run inside its network as the engine does."""
    kind, *words = service["healthcheck"]["test"]
    assert kind == "CMD"
    checked = subprocess.run(["nsenter", "-t", str(pid), "-n", *words], capture_output=True, timeout=60, check=False)
    return checked.returncode == 0
