"""`/healthz` says that the console is alive, `/readyz` what it depends on. Neither shows patient data."""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from console.system import PARTS, SILENT_AFTER_S, reserve_bytes
from console.visit import Console
from core.errors import BadSettings, EcgNodeError
from core.files import free_bytes
from records.clock import database_time
from records.migrate import need_current_schema
from records.processes import list_processes


def show_health(_console: Console, _request: Request, _form: Mapping[str, str]) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


def show_readiness(console: Console, _request: Request, _form: Mapping[str, str]) -> Response:
    """Each dependency by name. 503 when the console itself cannot work; parts of the node that are away degrade it."""
    needed = {"database": _said(_database, console), "disk": _said(_disk, console)}
    parts = _parts(console) if needed["database"] == "ok" else dict.fromkeys(PARTS, "unknown")
    ready = all(word == "ok" for word in needed.values())
    status = "not ready" if not ready else "ok" if set(parts.values()) == {"ok"} else "degraded"
    return JSONResponse({"status": status, "dependencies": {**needed, **parts}}, 200 if ready else 503)


def _said(look: Callable[[Console], str], console: Console) -> str:
    try:
        return look(console)
    except EcgNodeError as error:
        return str(error)


def _database(console: Console) -> str:
    try:
        with console.database.reading() as session:
            database_time(session)
        need_current_schema(console.database)
    except BadSettings as error:
        return str(error)
    return "ok"


def _disk(console: Console) -> str:
    free, size = free_bytes(console.settings.data_dir)
    return (
        "ok" if free > reserve_bytes(console.settings, size) else "below the reserve: nothing is accepted; free space"
    )


def _parts(console: Console) -> dict[str, str]:
    seen = {row.kind: ago for row, ago in sorted(list_processes(console.database), key=lambda one: -one[1])}
    return {part: _part(seen.get(part)) for part in PARTS}


def _part(ago: float | None) -> str:
    if ago is None:
        return "not running"
    return "ok" if ago <= SILENT_AFTER_S else f"silent for {ago:.0f} s"
