"""Commands that start the node's processes."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.common import console, out, start
from core.names import ROUTINE_QUEUE, STAT_QUEUE
from core.settings import read_settings


def add_commands(app: typer.Typer) -> None:
    """Add `run`, `listen`, `work`, `send`, `pacs`, `push` and `migrate`."""
    for command in (run, listen, work, send, show_console, pacs, push, migrate):
        app.command("console" if command is show_console else None)(command)


def run() -> None:
    """Run everything on this machine: broker where none is set, listener, worker, sender, console. Ends with Ctrl-C."""
    from cli.supervisor import supervise
    from worker.delivery import need_usable

    settings = start("run")
    need_usable(settings)
    supervise(settings)


def listen() -> None:
    """Receive ECGs: C-ECHO and C-STORE SCP."""
    from dicom_node.listener import run as run_listener

    run_listener(start("listen"))


def work(
    queue: Annotated[list[str] | None, typer.Option(help="Only wake-ups of this queue: stat or routine.")] = None,
) -> None:
    """Classify ECGs as they come, and build their reports."""
    # TensorFlow's native code writes notes past every log setting; warnings and errors still come
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    from worker.processes import run_worker

    run_worker(start("work"), queue or [STAT_QUEUE, ROUTINE_QUEUE])


def send() -> None:
    """Send reports to the configured PACS."""
    from worker.processes import run_sender

    run_sender(start("send"))


def show_console() -> None:
    """Serve the console: what happened to every ECG, for administrators and cardiologists."""
    from console.process import run as run_console

    run_console(start("console"))


def pacs(
    folder: Annotated[Path, typer.Argument(help="Where received objects are written.")],
    port: Annotated[int, typer.Option(help="Port on loopback.")] = 11113,
    ae_title: Annotated[str, typer.Option(help="AE title that it answers to.")] = "PACS",
) -> None:
    """Run a throw-away PACS on loopback: it writes what it gets to a folder. For trying things out only."""
    from dicom_node.pacs import run as run_pacs

    start("pacs")
    run_pacs(folder, ae_title, port)


def push(
    files: Annotated[list[Path], typer.Argument(help="DICOM files, or PNG, JPEG, TIFF and PDF files to wrap.")],
    host: Annotated[str, typer.Option(help="Where the node listens.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Its port; default: the configured one.")] = None,
    ae_title: Annotated[str | None, typer.Option(help="Its AE title; default: the configured one.")] = None,
    calling: Annotated[str, typer.Option(help="AE title to call as.")] = "ECGPUSH",
    patient_id: Annotated[str, typer.Option(help="Patient ID for wrapped files.")] = "",
    patient_name: Annotated[str, typer.Option(help="Patient name for wrapped files.")] = "",
) -> None:
    """Send ECG files to a node."""
    from core.settings import Destination
    from dicom_node.scu import Verdict, send
    from dicom_node.wrap import outgoing_of

    settings = read_settings()
    node = Destination(host=host, port=port or settings.listen_port, ae_title=ae_title or settings.ae_title)
    outgoing = [outgoing_of(file, patient_id=patient_id, patient_name=patient_name) for file in files]
    outcomes = send(node, calling, outgoing, settings.send_timeout_s)
    for file, one, outcome in zip(files, outgoing, outcomes, strict=True):
        said = "accepted" if outcome.verdict is Verdict.DELIVERED else f"refused: {outcome.text}"
        out.print(f"{file}: {said} ({one.sop_instance_uid})", highlight=False, soft_wrap=True)
    if any(outcome.verdict is not Verdict.DELIVERED for outcome in outcomes):
        raise typer.Exit(1)


def migrate() -> None:
    """Bring the audit database's schema up to date; safe to run twice and from several machines."""
    from records.database import open_database
    from records.migrate import migrate as bring_up

    database = open_database(read_settings())
    console.print(f"schema {bring_up(database)}")
    database.close()
