"""`ecg-node demo`: the whole way of real ECGs on this machine, with a throw-away PACS."""

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.common import out
from core.errors import Unavailable
from core.settings import PREFIX, Settings
from core.values import LABELS, NOTICE

if TYPE_CHECKING:
    from cli.supervisor import Child
    from records.database import Database
    from records.queries import EcgSummary

READY_S = 150.0
ANSWER_S = 120.0
REAL_ECGS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "pages"
PAGES = ("normal", "abnormal_heartbeat", "myocardial_infarction", "history_of_mi")


LOG = "node.log"
_LOG_LINES = 30
_KINDS = {"sr": "SR      ", "heatmap": "heat map"}


def add_commands(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command()(demo)


def demo(
    exit_when_done: Annotated[bool, typer.Option("--exit", help="End when every ECG is answered.")] = False,
) -> None:
    """Push real ECGs and a drawn sheet through a whole node on this machine; everything lies in a temporary folder."""
    stop = _stop_on_signal()
    with tempfile.TemporaryDirectory(prefix="ecg-node-demo-", ignore_cleanup_errors=True) as folder:
        answered = _run_demo(Path(folder), stop, exit_when_done)
    if not answered:
        raise typer.Exit(1)


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)
    return stop


def _run_demo(folder: Path, stop: threading.Event, exit_when_done: bool) -> bool:
    from cli.supervisor import running_node
    from dicom_node.pacs import ThrowAwayPacs

    pacs = ThrowAwayPacs(folder / "pacs", "PACS")
    pacs_port = pacs.start()
    environment = _environment(folder, pacs_port)
    settings = _settings_from(environment)
    try:
        with running_node(settings, environment, folder / LOG) as children:
            with _bars() as bars:
                _wait_until_ready(settings, bars, children, stop)
                answered = _push_all(settings, bars, folder / "pacs", stop)
            if not exit_when_done:
                _stay_up(settings, pacs_port, stop, children)
            return answered
    except Unavailable:
        _print_log(folder / LOG)
        raise
    finally:
        pacs.stop()


def _print_log(log: Path) -> None:
    if log.exists():
        out.print("Last lines of the node's log:")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _bars() -> Progress:
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=out)


def _environment(folder: Path, pacs_port: int) -> dict[str, str]:
    given = {
        "DATA_DIR": str(folder / "node"),
        "DEMO": "true",
        "LISTEN_PORT": str(_free_port()),
        "CONSOLE_PORT": str(_free_port()),
        "DESTINATIONS__DEMO__HOST": "127.0.0.1",
        "DESTINATIONS__DEMO__PORT": str(pacs_port),
        "DESTINATIONS__DEMO__AE_TITLE": "PACS",
        "DISK_RESERVE_BYTES": "0",
        "DISK_RESERVE_FRACTION": "0",
        "LOG_LEVEL": "warning",
        "LOG_FORMAT": "console",
    }
    return {f"{PREFIX}{name}": value for name, value in given.items()}


def _settings_from(environment: dict[str, str]) -> Settings:
    from core.settings import read_settings

    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # a demo must never touch the data or the PACS of a real installation
    os.environ.update(environment)
    return read_settings()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(settings: Settings, bars: Progress, children: Sequence["Child"], stop: threading.Event) -> None:
    from records.database import open_database
    from records.processes import list_processes

    waiting = {"listen": "listener", "work": "worker (loads the network)", "send": "sender"}
    tasks = {kind: bars.add_task(f"{name}: starting", total=None) for kind, name in waiting.items()}
    database = open_database(settings)
    end = time.monotonic() + READY_S
    while waiting and not stop.is_set():
        for row, _ago in list_processes(database):
            if row.kind in waiting:
                bars.update(tasks[row.kind], description=f"{waiting.pop(row.kind)}: ready", total=1, completed=1)
        for child in children:
            if child.process is not None and child.process.poll() is not None and not stop.is_set():
                raise Unavailable(f"{child.name} ended with {child.process.returncode}; its log is printed")
        if time.monotonic() > end:
            raise Unavailable(f"not ready within {READY_S:g} s: {', '.join(waiting.values())}; its log is printed")
        stop.wait(0.1)
    database.close()


def _push_all(settings: Settings, bars: Progress, pacs_folder: Path, stop: threading.Event) -> bool:
    """Push one ECG after the other, each when the one before it is answered, so that no time is a queue's."""
    from records.database import open_database

    files = _demo_files(pacs_folder.parent)
    task = bars.add_task("ECGs pushed, classified, and their reports accepted by the PACS", total=len(files))
    database = open_database(settings)
    answered = 0
    bars.console.print(f"[yellow]{NOTICE}[/yellow]")
    for name, file in files:
        if stop.is_set():
            break
        uid = _push(settings, name, file)
        answer = _wait_for_answer(database, uid, stop)
        if answer is None:
            bars.console.print(f"[red]{name}: no answer within {ANSWER_S:g} s[/red]")
            continue
        _print_answer(bars.console, name, answer, pacs_folder)
        answered += _pacs_holds_sr(answer, pacs_folder)
        bars.advance(task)
    database.close()
    return answered == len(files)


def _push(settings: Settings, name: str, file: Path) -> str:
    from core.settings import Destination
    from dicom_node.scu import Verdict, send
    from dicom_node.wrap import outgoing_of

    node = Destination(host="127.0.0.1", port=settings.listen_port, ae_title=settings.ae_title)
    outgoing = outgoing_of(file, patient_id="DEMO", patient_name="Demo^Patient")
    (outcome,) = send(node, "DEMOCART", [outgoing], settings.send_timeout_s)
    if outcome.verdict is not Verdict.DELIVERED:
        raise Unavailable(f"{name}: the node did not take it: {outcome.text}")
    return outgoing.sop_instance_uid


def _demo_files(folder: Path) -> list[tuple[str, Path]]:
    from PIL import Image
    from pydicom.data import get_testdata_file

    from model.rendering import draw_sheet
    from model.synthetic import synthetic_signal

    drawn = folder / "drawn.png"
    Image.fromarray(draw_sheet(synthetic_signal()).rgb).save(drawn)
    files = [("12-lead waveform object", Path(str(get_testdata_file("waveform_ecg.dcm"))))]
    files.append(("sheet drawn by formulas, of no patient", drawn))
    for label in PAGES:
        for page in sorted((REAL_ECGS / label).glob("*.jpg"))[:1]:
            files.append((f"page of {label.replace('_', ' ')}", page))
    return files


def _wait_for_answer(database: "Database", uid: str, stop: threading.Event) -> "EcgSummary | None":
    from records.queries import find_summary

    end = time.monotonic() + ANSWER_S
    while not stop.is_set() and time.monotonic() < end:
        summary = find_summary(database, uid)
        if summary is not None and summary.delivered:
            return summary
        stop.wait(0.05)
    return None


def _print_answer(console: Console, name: str, answer: "EcgSummary", pacs_folder: Path) -> None:
    """One ECG in a few lines that fit into 80 columns, and whole paths that can be copied."""
    said = answer.labels[0] if answer.labels else None
    words = f"[bold]{said.replace('_', ' ')}[/bold]" if said else f"[yellow]cannot be judged: {answer.reason}[/yellow]"
    console.print(f"\n[bold]{name}[/bold]: {words}")
    if answer.probabilities and (shares := answer.probabilities[0]):
        named = zip(LABELS, shares, strict=True)
        console.print("  " + ", ".join(f"{label.value.replace('_', ' ')} {share:.1%}" for label, share in named))
    console.print(f"  {answer.milliseconds:.0f} ms from its last byte to the PACS's answer")
    for kind, uid, _state in answer.reports:
        file = pacs_folder / f"{uid}.dcm"
        where = str(file) if file.exists() else "[red]not at the PACS[/red]"
        console.print(f"  {_KINDS[kind]}: {where}", highlight=False, soft_wrap=True)


def _pacs_holds_sr(answer: "EcgSummary", pacs_folder: Path) -> bool:
    from pydicom import dcmread

    for kind, uid, _state in answer.reports:
        file = pacs_folder / f"{uid}.dcm"
        if kind == "sr" and file.exists():
            return str(dcmread(file).SOPInstanceUID) == uid
    return False


def _program() -> str:
    """`ecg-node` as the user of this demo can type it."""
    beside = Path(sys.executable).parent / "ecg-node"
    if not beside.exists():
        return "ecg-node"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _stay_up(settings: Settings, pacs_port: int, stop: threading.Event, children: Sequence["Child"]) -> None:
    from cli.demo_accounts import print_console

    print_console(settings)
    out.print(
        f"\nThe node listens on 127.0.0.1:{settings.listen_port} as {settings.ae_title}, "
        f"the PACS on 127.0.0.1:{pacs_port}; "
        f"the log is {settings.data_dir.parent / LOG}.\n"
        f"Send it an ECG of your own: {_program()} push --port {settings.listen_port} FILE\nCtrl-C ends everything.",
        highlight=False,
        soft_wrap=True,
    )
    while not stop.wait(0.5):
        for child in children:
            child.tend()
