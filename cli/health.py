"""`ecg-node healthcheck`: for container engines and monitors; cheap, and silent when all is well."""

import http.client
import socket
import ssl
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import open_records
from core.errors import PeerAway, Unavailable
from core.settings import Settings, read_settings

if TYPE_CHECKING:
    from records.tables import Process

SILENT_AFTER_S = 30.0
_TIMEOUT_S = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Kind(StrEnum):
    """A process of the node."""

    LISTEN = "listen"
    WORK = "work"
    SEND = "send"
    CONSOLE = "console"


def add_commands(app: typer.Typer) -> None:
    """Add `healthcheck`."""
    app.command()(healthcheck)


def healthcheck(kind: Annotated[Kind, typer.Argument(help="Which process of this machine or container.")]) -> None:
    """Exit 0 when a process of this kind on this machine is alive and answers; 1 with the reason when not."""
    settings = read_settings()
    row = _find_alive(kind, settings)
    if kind is Kind.LISTEN:
        from dicom_node.probe import need_answer

        # Where it serves with and without TLS, the plain address comes first
        host, port = row.address.split(", ")[0].removeprefix("tls ").rsplit(":", 1)
        need_answer(_EVERYWHERE.get(host, host), int(port), _TIMEOUT_S)
    if kind is Kind.CONSOLE:
        _need_page(settings, int(row.address.rsplit(":", 1)[1]))


def _find_alive(kind: Kind, settings: Settings) -> "Process":
    from records.processes import list_processes

    with open_records(settings) as database:
        here = [(ago, row) for row, ago in list_processes(database) if (row.kind, row.host) == (kind, _host())]
    if not here:
        raise Unavailable(f"{kind}: no such process is ready on {_host()}")
    ago, row = min(here, key=lambda one: one[0])
    if ago > SILENT_AFTER_S:
        raise Unavailable(f"{kind}: silent for {ago:.0f} s; read its log")
    return row


def _host() -> str:
    return socket.gethostname()


def _need_page(settings: Settings, port: int) -> None:
    host = _EVERYWHERE.get(settings.console_host, settings.console_host)
    if settings.console_tls_certificate:
        # The certificate is for the name that people type, not for loopback; nothing secret is asked or told
        unchecked = ssl._create_unverified_context()
        page: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=_TIMEOUT_S, context=unchecked
        )
    else:
        page = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        page.request("GET", "/healthz")
        status = page.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise PeerAway(f"console on port {port}: {type(error).__name__}") from error
    finally:
        page.close()
    if status != http.client.OK:
        raise PeerAway(f"console on port {port}: answers {status}")
