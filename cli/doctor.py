"""`ecg-node doctor` and `ecg-node status`: what is wrong, and what to do about it."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.common import open_records, out
from core.errors import EcgNodeError
from core.files import free_bytes
from core.settings import PREFIX, Settings, read_settings

if TYPE_CHECKING:
    from records.models import ModelChoice

SILENT_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` says what to do when it is not well."""

    what: str
    well: bool
    found: str
    advice: str = ""


def add_commands(app: typer.Typer) -> None:
    """Add `doctor` and `status`."""
    app.command()(doctor)
    app.command()(status)


def doctor() -> None:
    """Look at ports, disk, database, broker, model, PACS and callers; say for each what to do."""
    settings = read_settings()
    findings = [finding for look in LOOKS for finding in _look(look, settings)]
    for finding in findings:
        state = "[green]well    [/green]" if finding.well else "[red]not well[/red]"
        out.print(f"{state}  {finding.what:8}  {escape(finding.found)}", highlight=False, soft_wrap=True)
        if finding.advice:
            out.print(f"{'':20}-> {escape(finding.advice)}", highlight=False, soft_wrap=True)
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


def _look(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    try:
        yield from look(settings)
    except EcgNodeError as error:
        yield Finding(look.__name__.removeprefix("_"), False, str(error))


def _port(settings: Settings) -> Iterator[Finding]:
    from core.settings import Destination
    from dicom_node.scu import echo

    where = f"{settings.listen_host}:{settings.listen_port}"
    host = "127.0.0.1" if settings.listen_host in {"0.0.0.0", "::"} else settings.listen_host
    with socket.socket() as probe:
        probe.settimeout(2)
        open_already = probe.connect_ex((host, settings.listen_port)) == 0
    if not open_already:
        yield Finding("port", True, f"{where} is free: the listener is not running here", "`ecg-node run` starts it")
        return
    node = Destination(host=host, port=settings.listen_port, ae_title=settings.ae_title)
    try:
        echo(node, "ECGDOCTOR", 5.0)
        yield Finding("port", True, f"the listener answers C-ECHO on {where}")
    except EcgNodeError as error:
        refused = "may be refused to ECGDOCTOR; add it to `callers`, or find who else holds the port"
        yield Finding("port", "reject" in str(error).lower(), f"{where} is open, C-ECHO: {error}", refused)


def _disk(settings: Settings) -> Iterator[Finding]:
    free, size = free_bytes(settings.data_dir)
    reserve = max(settings.disk_reserve_bytes, int(size * settings.disk_reserve_fraction))
    found = f"{free / 1e9:.1f} GB free, reserve {reserve / 1e9:.1f} GB in {settings.data_dir.resolve()}"
    yield Finding("disk", free > reserve, found, "free space or lower disk_reserve_bytes" if free <= reserve else "")


def _database(settings: Settings) -> Iterator[Finding]:
    with open_records(settings) as database:
        kind = database.engine.dialect.name
        yield Finding("database", True, f"{kind} answers, schema is current")


def _broker(settings: Settings) -> Iterator[Finding]:
    import redis

    address = settings.broker_url.get_secret_value()
    if not address:
        yield Finding("broker", True, "none is set: `ecg-node run` starts an embedded one; others poll the database")
        return
    try:
        redis.Redis.from_url(address, socket_connect_timeout=3, socket_timeout=3).ping()
        yield Finding("broker", True, "answers")
    except redis.RedisError as error:
        advice = "start Redis or correct broker_url; until then work is found in the database, a few seconds later"
        yield Finding("broker", False, type(error).__name__, advice)


def _model(settings: Settings) -> Iterator[Finding]:
    from model.store import find_exact, read_model, start_folder

    chosen = _model_in_service(settings)
    if chosen is None:
        stored = read_model(start_folder(settings))
    else:
        stored = find_exact(settings, chosen.weights_sha256, chosen.card_sha256)
    card = stored.card
    yield Finding("model", True, f"{card.name} {card.version}, sha256 {card.weights_sha256[:12]} matches its card")


def _model_in_service(settings: Settings) -> "ModelChoice | None":
    """The model that was released last; None where none was, or where the database, a finding of its own, is away."""
    from records.models import find_chosen

    try:
        with open_records(settings) as database:
            return find_chosen(database).service
    except EcgNodeError:
        return None


def _pacs(settings: Settings) -> Iterator[Finding]:
    from dicom_node.scu import echo

    if not settings.destinations:
        yield Finding("PACS", False, "no destination is set", "set destinations: docs/settings.md")
    for name, destination in settings.destinations.items():
        where = f"{name}: {destination.ae_title}@{destination.host}:{destination.port}"
        try:
            echo(destination, settings.ae_title, 5.0)
            yield Finding("PACS", True, f"{where} answers C-ECHO")
        except EcgNodeError as error:
            ours = destination.calling_ae_title or settings.ae_title
            advice = f"is it running, and does it know {ours}? Results wait here until it answers"
            yield Finding("PACS", False, f"{where}: {error}", advice)


def _callers(settings: Settings) -> Iterator[Finding]:
    """Where callers want to be told of storage commitment."""
    from dicom_node.commitment import reach
    from dicom_node.commitment_proof import way_to

    for name, caller in settings.callers.items():
        if not caller.host:
            continue
        for ae_title in caller.ae_titles:
            way = way_to(caller, ae_title, settings)
            where = f"{name}: {ae_title}@{caller.host}:{caller.port}{' over TLS' if way.tls else ''}"
            try:
                reach(way, settings.ae_title, 5.0)
                yield Finding("callers", True, f"{where} takes answers to storage commitment")
            except EcgNodeError as error:
                advice = (
                    f"correct host, port or tls of callers.{name}; what it may delete is told to it until it answers"
                )
                yield Finding("callers", False, f"{where}: {error}", advice)


def _secrets(settings: Settings) -> Iterator[Finding]:
    from core.secrets import find_weak, is_open_to_others
    from core.settings import CONFIG_VARIABLE

    secrets = (settings.database_url, settings.broker_url, settings.trail_key)
    weak = list(find_weak(*(one.get_secret_value() for one in secrets)))
    for name, why in weak:
        yield Finding("secrets", False, f"{name} {why}", "set a secret of its own")
    named = [path for name, path in os.environ.items() if name.startswith(PREFIX) and name.endswith("_FILE")]
    files = [Path(path) for path in (os.environ.get(CONFIG_VARIABLE), *named) if path]
    readable = [path for path in files if path.exists() and path.suffix != ".pem" and is_open_to_others(path)]
    for path in readable:
        yield Finding("secrets", False, f"every user of this machine can read {path}", f"chmod 600 {path}")
    if not weak and not readable:
        yield Finding("secrets", True, "none is empty, known to everyone or open to every user")


LOOKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _port,
    _disk,
    _database,
    _broker,
    _model,
    _pacs,
    _callers,
    _secrets,
)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show how many ECGs, jobs and deliveries are in which state, and which processes are alive."""
    from records.processes import list_processes
    from records.queries import count_states

    with open_records(read_settings()) as database:
        counts = count_states(database)
        alive = [
            {"kind": row.kind, "host": row.host, "pid": row.pid, "address": row.address, "seen_s_ago": round(ago, 1)}
            for row, ago in list_processes(database)
        ]
    if as_json:
        out.print_json(json.dumps({"counts": counts, "processes": alive}))
        return
    table = Table("what", "state", "count")
    for what, states in counts.items():
        for state, count in states.items():
            table.add_row(what, state, str(count))
    out.print(table)
    processes = Table("process", "machine", "pid", "address", "last seen")
    for one in alive:
        seen = f"{one['seen_s_ago']} s ago"
        silent = float(str(one["seen_s_ago"])) > SILENT_AFTER_S
        processes.add_row(
            str(one["kind"]),
            str(one["host"]),
            str(one["pid"]),
            str(one["address"]),
            f"[red]{seen}[/red]" if silent else seen,
        )
    out.print(processes)
