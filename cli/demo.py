"""`ecg-node demo`: the whole way of real ECGs on this machine, with a throw-away PACS."""

import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.common import out
from core.errors import Unavailable
from core.settings import PREFIX, Settings
from core.values import LABELS, NOTICE

if TYPE_CHECKING:
    from cli.supervisor import Child
    from records.queries import EcgSummary

READY_S = 150.0
ANSWER_S = 120.0
REAL_ECGS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "pages"
PAGES = ("normal", "abnormal_heartbeat", "myocardial_infarction", "history_of_mi")


@dataclass(frozen=True, slots=True)
class Pushed:
    """An ECG that the demo sent."""

    name: str
    sop_instance_uid: str


def add_commands(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command()(demo)


def demo(
    exit_when_done: Annotated[bool, typer.Option("--exit", help="End when every ECG is answered.")] = False,
) -> None:
    """Push real ECGs through a whole node on this machine; everything lies in a temporary folder."""
    stop = _stop_on_signal()
    with tempfile.TemporaryDirectory(prefix="ecg-node-demo-", ignore_cleanup_errors=True) as folder:
        answered = _run_demo(Path(folder), stop, exit_when_done)
    if not answered:
        raise typer.Exit(1)


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
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
        with _bars() as bars, running_node(settings, environment) as children:
            pushed = _push_when_ready(settings, bars, stop)
            answers = _wait_for_answers(settings, pushed, bars, stop)
            bars.stop()
            _print_answers(pushed, answers, folder / "pacs")
            if not exit_when_done:
                _stay_up(settings, pacs_port, stop, children)
            return len(answers) == len(pushed) > 0
    finally:
        pacs.stop()


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


def _push_when_ready(settings: Settings, bars: Progress, stop: threading.Event) -> list[Pushed]:
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
        if time.monotonic() > end:
            raise Unavailable(f"not ready within {READY_S:g} s: {', '.join(waiting.values())}; see the log lines above")
        stop.wait(0.1)
    database.close()
    return [] if stop.is_set() else _push(settings, bars)


def _push(settings: Settings, bars: Progress) -> list[Pushed]:
    from core.settings import Destination
    from dicom_node.scu import Verdict, send
    from dicom_node.wrap import outgoing_of

    files = _demo_files()
    task = bars.add_task("pushing real ECGs by DICOM", total=len(files))
    node = Destination(host="127.0.0.1", port=settings.listen_port, ae_title=settings.ae_title)
    pushed = []
    for name, file in files:
        outgoing = outgoing_of(file, patient_id="DEMO", patient_name="Demo^Patient")
        (outcome,) = send(node, "DEMOCART", [outgoing], settings.send_timeout_s)
        if outcome.verdict is not Verdict.DELIVERED:
            raise Unavailable(f"{name}: the node did not take it: {outcome.text}")
        pushed.append(Pushed(name, outgoing.sop_instance_uid))
        bars.advance(task)
    return pushed


def _demo_files() -> list[tuple[str, Path]]:
    from pydicom.data import get_testdata_file

    files = [("12-lead waveform object", Path(str(get_testdata_file("waveform_ecg.dcm"))))]
    for label in PAGES:
        for page in sorted((REAL_ECGS / label).glob("*.jpg"))[:1]:
            files.append((f"page: {label}", page))
    return files


def _wait_for_answers(
    settings: Settings, pushed: Sequence[Pushed], bars: Progress, stop: threading.Event
) -> list["EcgSummary"]:
    from records.database import open_database
    from records.queries import find_summary

    task = bars.add_task("classified, reported and accepted by the PACS", total=len(pushed))
    database = open_database(settings)
    end = time.monotonic() + ANSWER_S
    answers: list[EcgSummary] = []
    while not stop.is_set() and time.monotonic() < end:
        found = [find_summary(database, one.sop_instance_uid) for one in pushed]
        answers = [summary for summary in found if summary is not None and summary.delivered]
        bars.update(task, completed=len(answers))
        if len(answers) == len(pushed):
            break
        stop.wait(0.1)
    database.close()
    return answers


def _print_answers(pushed: Sequence[Pushed], answers: Sequence["EcgSummary"], pacs_folder: Path) -> None:
    names = {one.sop_instance_uid: one.name for one in pushed}
    table = Table("ECG", "answer", *(label.value.replace("_", " ") for label in LABELS), "ms to the PACS", title=NOTICE)
    for answer in answers:
        said = answer.labels[0] or f"cannot be judged: {answer.reason}" if answer.labels else answer.state.value
        shares = [f"{share:.1%}" for share in answer.probabilities[0] or ()] or ["", "", ""]
        table.add_row(names[answer.sop_instance_uid], said.replace("_", " "), *shares, f"{answer.milliseconds:.0f}")
    out.print(table)
    out.print("What the throw-away PACS holds:")
    for answer in answers:
        for kind, uid, _state in answer.reports:
            for file in pacs_folder.rglob(f"*{uid}*"):
                out.print(f"  {names[answer.sop_instance_uid]}: {kind}: {file}", highlight=False, soft_wrap=True)
    for one in pushed:
        if one.sop_instance_uid not in {answer.sop_instance_uid for answer in answers}:
            out.print(f"[red]no answer within {ANSWER_S:g} s: {one.name}[/red]")


def _stay_up(settings: Settings, pacs_port: int, stop: threading.Event, children: Sequence["Child"]) -> None:
    from cli.demo_accounts import print_console

    print_console(settings)
    out.print(
        f"The node listens on 127.0.0.1:{settings.listen_port} as {settings.ae_title}; the PACS on port {pacs_port}.\n"
        f"Send it an ECG of your own: ecg-node push --port {settings.listen_port} FILE\nCtrl-C ends everything.",
        highlight=False,
        soft_wrap=True,
    )
    while not stop.wait(0.5):
        for child in children:
            child.tend()
