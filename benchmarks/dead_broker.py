"""What a dead broker costs a cart: C-STORE times with the broker alive, dead and never set, in turn, in one run.

`python -m benchmarks.dead_broker [ROUNDS]`. Goal: p99 with a dead broker under twice that with a live one.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from cli.supervisor import ecg_node, embedded_broker
from core.settings import Destination, Settings
from dicom_node.scu import send
from dicom_node.wrap import outgoing_of
from records.database import open_database
from records.migrate import migrate
from records.processes import list_processes

IN_A_ROUND = 10


def main(rounds: int) -> None:
    """Print p50 and p99 in milliseconds, and the ratios to the live broker."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        alive = stack.enter_context(embedded_broker(folder / "broker"))
        dead = f"redis://127.0.0.1:{_closed_port()}/0"
        brokers = {"alive": alive, "dead": dead, "never set": ""}
        nodes = {kind: stack.enter_context(_listener(folder / kind, broker)) for kind, broker in brokers.items()}
        picture = _picture(folder)
        times: dict[str, list[float]] = {kind: [] for kind in nodes}
        for _ in range(rounds):
            for kind, node in nodes.items():
                times[kind] += _push(node, picture)
        _print(times)


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _listener(folder: Path, broker: str) -> Iterator[Destination]:
    settings = Settings(data_dir=folder, demo=True)
    database = open_database(settings)
    migrate(database)
    given = {"DATA_DIR": str(folder), "DEMO": "true", "LISTEN_PORT": "0", "BROKER_URL": broker, "LOG_LEVEL": "error"}
    given |= {"DISK_RESERVE_BYTES": "0", "DISK_RESERVE_FRACTION": "0"}
    environment = {**os.environ, **{f"ECG_NODE_{key}": value for key, value in given.items()}}
    process = subprocess.Popen(ecg_node("listen"), env=environment)
    try:
        while not (rows := [row for row, _ago in list_processes(database) if row.pid == process.pid]):
            time.sleep(0.05)
        yield Destination(host="127.0.0.1", port=int(rows[0].address.rsplit(":", 1)[1]), ae_title=settings.ae_title)
    finally:
        process.terminate()
        process.wait(60)
        database.close()


def _picture(folder: Path) -> Path:
    """A page of about the size that carts send."""
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (600, 800), np.uint8)).save(folder / "page.jpg", quality=80)
    return folder / "page.jpg"


def _push(node: Destination, picture: Path) -> list[float]:
    """Milliseconds of each C-STORE with an association of its own, as carts send."""
    taken = []
    for one in [outgoing_of(picture) for _ in range(IN_A_ROUND)]:
        began = time.perf_counter()
        (outcome,) = send(node, "BENCH", [one], 60.0)
        taken.append(1000 * (time.perf_counter() - began))
        assert outcome.status == 0, outcome
    return taken


def _print(times: dict[str, list[float]]) -> None:
    for kind, values in times.items():
        p50, p99 = statistics.median(values), float(np.percentile(values, 99))
        ratio = p99 / float(np.percentile(times["alive"], 99))
        print(
            f"broker {kind:10} C-STORE p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  p99 to that of a live broker {ratio:5.2f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
