"""A PACS that was down comes back: how fast the reports that waited reach it, and whether any comes twice.

`python -m benchmarks.drain [ECGS]`: real processes, the real network, drawn ECGs.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image
from pynetdicom import evt

from cli.supervisor import running_node
from core.settings import PREFIX, Destination, read_settings
from dicom_node.pacs import ThrowAwayPacs
from dicom_node.scu import SR_CLASS_UIDS, send
from dicom_node.wrap import outgoing_of
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal
from records.database import open_database
from records.deliveries import list_deliveries
from records.jobs import count_waiting
from records.processes import list_processes

LIMIT_S = 1800.0


class CountingPacs(ThrowAwayPacs):
    """Counts what comes, by SOP Instance UID and by content."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, "PACS", port)
        self.came: Counter[str] = Counter()
        self.contents: dict[str, set[str]] = {}
        self.reports: set[str] = set()

    def handle_store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.came[uid] += 1
        self.contents.setdefault(uid, set()).add(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        if str(event.request.AffectedSOPClassUID) in SR_CLASS_UIDS.values():
            self.reports.add(uid)
        return super().handle_store(event)


def main(number: int) -> None:
    """Push while the PACS is down, wait until all is judged, bring the PACS back, and time the rest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        probe = ThrowAwayPacs(folder / "probe")
        port = probe.start()
        probe.stop()
        environment = _environment(folder, port)
        os.environ.update(environment)
        settings = read_settings()
        with running_node(settings, environment):
            database = open_database(settings)
            _wait(lambda: {row.kind for row, _ago in list_processes(database)} >= {"listen", "work", "send"})
            began = time.perf_counter()
            _push(settings.listen_port, settings.ae_title, folder, number)
            pushed_s = time.perf_counter() - began
            _wait(lambda: count_waiting(database) == 0)
            judged_s = time.perf_counter() - began
            waiting = len(list_deliveries(database, limit=10 * number))
            pacs = CountingPacs(folder / "pacs", port)
            began = time.perf_counter()
            pacs.start()
            _wait(lambda: len(pacs.came) >= 1)
            first_s = time.perf_counter() - began
            _wait(lambda: len(pacs.came) >= waiting)
            drained_s = time.perf_counter() - began
            database.close()
        pacs.stop()
        print(f"{number} ECGs taken in {pushed_s:.1f} s with the PACS down ({number / pushed_s:.0f} a second)")
        print(f"all judged after {judged_s:.1f} s; {waiting} reports wait")
        print(f"first report {first_s:.1f} s after the PACS is back, the last after {drained_s:.1f} s")
        print(f"drain rate {waiting / max(drained_s - first_s, 1e-3):.0f} reports a second")
        again = sum(count - 1 for count in pacs.came.values())
        other = sum(len(contents) > 1 for contents in pacs.contents.values())
        print(f"SRs {len(pacs.reports)} of {number}; sent again {again}; under one UID with other bytes {other}")


def _environment(folder: Path, pacs_port: int) -> dict[str, str]:
    with_port = ThrowAwayPacs(folder / "free")
    listen_port = with_port.start()
    with_port.stop()
    given = {
        "DATA_DIR": str(folder / "node"),
        "DEMO": "true",
        "LISTEN_PORT": str(listen_port),
        "DESTINATIONS__MAIN__HOST": "127.0.0.1",
        "DESTINATIONS__MAIN__PORT": str(pacs_port),
        "DESTINATIONS__MAIN__AE_TITLE": "PACS",
        "RETRY_MOST_S": "10",
        "DISK_RESERVE_BYTES": "0",
        "DISK_RESERVE_FRACTION": "0",
        "LOG_LEVEL": "error",
    }
    return {f"{PREFIX}{name}": value for name, value in given.items()}


def _push(port: int, ae_title: str, folder: Path, number: int) -> None:
    node = Destination(host="127.0.0.1", port=port, ae_title=ae_title)
    pages = []
    for n in range(8):
        path = folder / f"{n}.png"
        Image.fromarray(draw_sheet(synthetic_signal(55 + 9 * n, seed=n)).rgb).save(path)
        pages.append(path)
    for n in range(number):
        (outcome,) = send(node, "BENCH", [outgoing_of(pages[n % len(pages)], patient_id=str(n))], 60.0)
        assert outcome.status == 0, outcome


def _wait(done: object) -> None:
    end = time.monotonic() + LIMIT_S
    while not done():  # type: ignore[operator]
        if time.monotonic() > end:
            raise SystemExit(f"not within {LIMIT_S:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
