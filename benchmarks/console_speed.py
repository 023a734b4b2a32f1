"""How quickly the console's lists answer with many ECGs: through HTTP and from the database, on SQLite and PostgreSQL.

Goals with 10,000 ECGs: worklist 100 ms, search in the trail 200 ms. ECG_NODE_BENCH_ECGS sets another number. The rows
are written in bulk, so the trail's hashes are made up: nothing here verifies them.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, update

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.settings import Settings  # noqa: E402
from core.states import EventKind, JobState  # noqa: E402
from core.values import Label  # noqa: E402
from records.audit_search import Search, search_trail  # noqa: E402
from records.database import Database, open_database  # noqa: E402
from records.figures import find_node_figures  # noqa: E402
from records.migrate import migrate  # noqa: E402
from records.one_ecg import find_ecg  # noqa: E402
from records.tables import Classification, Delivery, Instance, Job, TrailEvent, TrailHead  # noqa: E402
from records.trail import canonical  # noqa: E402
from records.worklist import Filters, list_worklist  # noqa: E402
from tests.console.conftest import log_in  # noqa: E402
from tests.console.serving import PASSWORD, served  # noqa: E402
from tests.servers import running_postgresql  # noqa: E402

ECGS = int(os.environ.get("ECG_NODE_BENCH_ECGS", "10000"))
ROUNDS = 15
WORKLIST_MS, AUDIT_MS = 100.0, 200.0
EVENTS = (EventKind.INSTANCE_RECEIVED, EventKind.JOB_CLAIMED, EventKind.JOB_FINISHED, EventKind.DELIVERY_SENT)
NOW = datetime.now(UTC)


def fill(database: Database) -> None:
    """ECGs of the last weeks: one in 20 urgent, one in 50 failed, four events and two deliveries each."""
    rows: dict[type, list[dict[str, object]]] = {
        Instance: [],
        Job: [],
        Classification: [],
        Delivery: [],
        TrailEvent: [],
    }
    for n in range(1, ECGS + 1):
        at = NOW - timedelta(minutes=5 * (ECGS - n))
        _add_ecg(rows, n, at)
    with database.engine.begin() as connection:
        for table, values in rows.items():
            for start in range(0, len(values), 1000):
                connection.execute(insert(table), values[start : start + 1000])
        connection.execute(update(TrailHead).values(seq=4 * ECGS))
        if database.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")


def _add_ecg(rows: dict[type, list[dict[str, object]]], n: int, at: datetime) -> None:
    digest, label = f"{n:064x}", list(Label)[n % 20 % 3]
    texts = {"patient_id": f"P{n % 3000}", "patient_name": f"Name{n}^Given", "accession_number": f"A{n}"}
    rows[Instance].append(
        {
            "id": n,
            **dict.fromkeys(["sop_class_uid", "series_instance_uid", "transfer_syntax_uid"], "1.2"),
            "sop_instance_uid": f"1.2.3.{n}",
            "study_instance_uid": f"1.2.4.{n}",
            **dict.fromkeys(["content_sha256", "file_sha256", "comparison_sha256", "pixel_sha256"], digest),
            "path": f"received/{n}",
            "size_bytes": 1,
            "disposition": "accepted",
            "calling_ae_title": f"CART{n % 12}",
            **dict.fromkeys(
                ["called_ae_title", "peer_address", "association_id", "modality", "study_description"], "x"
            ),
            **texts,
            "study_date": "20260101",
            "acquisition_datetime": "20260101120000",
            "stat": n % 20 == 0,
            "received_at": at,
        }
    )
    failed = n % 50 == 0
    state = JobState.FAILED if failed else JobState.DONE
    times = {"not_before": at, "created_at": at, "started_at": at, "ended_at": at + timedelta(seconds=2)}
    rows[Job].append(
        {"id": n, "ecg_id": n, "request": "first", "state": state.value, "reason": "x" if failed else None}
        | {"stat": n % 20 == 0, "priority": 0, "fence": 1, "attempt": 1, **times}
    )
    if not failed:
        shares = dict.fromkeys([f"probability_{one}" for one in Label], 0.2) | {f"probability_{label}": 0.6}
        model = {"version": "1", "timings_ms": {"decode": 100.0, "classify_batch": 50.0}}
        rows[Classification].append(
            {"id": n, "job_id": n, "ecg_id": n, "frame": 1, "label": label.value, "quality": 1.0, "model": model}
            | {"weights_sha256": "f" * 64, "input_sha256": digest, "thumbnail_sha256": digest, "area": {}}
            | {"recorded_at": at, **shares}
        )
    for kind in ("sr", "heatmap"):
        key = len(rows[Delivery]) + 1
        rows[Delivery].append(
            {"id": key, "job_id": n, "ecg_id": n, "destination": "pacs", "kind": kind, "frame": 0, "state": "sent"}
            | {"stat": False, "attempt": 1, "not_before": at, "created_at": at, "sent_at": at, "last_status": 0}
        )
    for number, event in enumerate(EVENTS):
        actor = (f"CART{n % 12}", "work@host:1", "worker", "sender")[number]
        rows[TrailEvent].append(
            {"seq": 4 * (n - 1) + number + 1, "at": at.isoformat(timespec="milliseconds"), "kind": event.value}
            | {"actor": actor, "ecg_id": n, "details": canonical({"job_id": n}), "hash": digest}
        )


def measure_ms(act: Callable[[], object]) -> tuple[float, float]:
    """Median and least time: the least one is what a machine that does nothing else would show."""
    act()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times), min(times)


def looks(database: Database) -> dict[str, tuple[Callable[[], object], float | None]]:
    day = {"since": NOW - timedelta(days=8), "until": NOW - timedelta(days=7)}
    last = ECGS // 2
    return {
        "worklist, first page": (lambda: list_worklist(database, Filters()), WORKLIST_MS),
        "worklist, in the middle": (lambda: list_worklist(database, Filters(), last), WORKLIST_MS),
        "worklist, by label": (lambda: list_worklist(database, Filters(label=Label.NORMAL)), WORKLIST_MS),
        "worklist, by state": (lambda: list_worklist(database, Filters(state=JobState.FAILED)), WORKLIST_MS),
        "worklist, by a state that none has": (
            lambda: list_worklist(database, Filters(state=JobState.RUNNING)),
            WORKLIST_MS,
        ),
        "worklist, by day": (lambda: list_worklist(database, Filters(**day)), WORKLIST_MS),
        "worklist, by sender": (lambda: list_worklist(database, Filters(calling_ae_title="CART3")), WORKLIST_MS),
        "worklist, by patient": (lambda: list_worklist(database, Filters(patient_id="P77")), WORKLIST_MS),
        "worklist, by patient with *": (lambda: list_worklist(database, Filters(patient_id="*77")), WORKLIST_MS),
        "worklist, by accession": (lambda: list_worklist(database, Filters(accession_number="A777")), WORKLIST_MS),
        "trail, newest": (lambda: search_trail(database, Search()), AUDIT_MS),
        "trail, by kind": (lambda: search_trail(database, Search([EventKind.JOB_FINISHED])), AUDIT_MS),
        "trail, by kind that is rare": (lambda: search_trail(database, Search([EventKind.LOGIN])), AUDIT_MS),
        "trail, by actor": (lambda: search_trail(database, Search(actor="CART3")), AUDIT_MS),
        "trail, by ECG": (lambda: search_trail(database, Search(ecg_id=777)), AUDIT_MS),
        "trail, by day and kind": (lambda: search_trail(database, Search([EventKind.JOB_CLAIMED], **day)), AUDIT_MS),
        "one ECG": (lambda: find_ecg(database, 777), None),
        "figures of the system page and metrics": (lambda: find_node_figures(database, ["pacs"]), None),
    }


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Addresses of an empty database of each kind; PostgreSQL where its programs are."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        yield {"sqlite": ""}
        return
    # A socket's path may have 107 characters at most, and the server's user must be able to enter the folder
    place = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    with running_postgresql(place) as server:
        yield {"sqlite": "", "postgresql": server.make_database()}
    shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kinds = stack.enter_context(databases(folder))
        print(f"{ECGS} ECGs, {4 * ECGS} events; median and least of {ROUNDS}, milliseconds; goal / median")
        for kind, url in kinds.items():
            settings = Settings(data_dir=folder / kind, database_url=url)
            database = open_database(settings)
            migrate(database)
            fill(database)
            for name, (act, goal) in looks(database).items():
                _report(kind, name, measure_ms(act), goal)
            database.close()
            _through_http(kind, settings)


def _through_http(kind: str, settings: Settings) -> None:
    with served(settings) as console, console.client() as client:
        log_in(client, "anna", PASSWORD)
        for name, path in (("worklist", "/"), ("one ECG", "/ecg/777"), ("metrics", "/metrics")):
            _report(kind, f"{name}, as a page", measure_ms(lambda path=path: client.get(path)), None)


def _report(kind: str, name: str, milliseconds: tuple[float, float], goal: float | None) -> None:
    median, least = milliseconds
    ratio = "" if goal is None else f"{goal / median:6.1f}x within {goal:g} ms"
    print(f"{kind:<11} {name:<42} {median:8.1f} {least:8.1f}  {ratio}", flush=True)


if __name__ == "__main__":
    main()
