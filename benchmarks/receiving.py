"""How many ECGs a second are received, against DCMTK's storescp: `python -m benchmarks.receiving [ROUNDS]`.

A JPEG of 282 KB, sent by DCMTK's `storescu -R -xy --max-pdu 131072` on one association, with Nagle's algorithm as
DCMTK leaves it. The node acknowledges after fsync and commit; storescp writes its files without either.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from benchmarks.pages import page_of
from tests.conftest import need_tool
from tests.node import running_node
from tests.servers import end_process, free_port, wait_until

JPEG_BYTES = 282_000
INSTANCES = 40
OPTIONS = ("-R", "-xy", "--max-pdu", "131072", "-aet", "CART", "-aec", "ECGNODE")


def main(rounds: int) -> None:
    """Print instances a second of both, in turn in one run, and their ratio."""
    with tempfile.TemporaryDirectory(prefix="ecg-node-bench-") as name:
        folder = Path(name)
        page = page_of(folder, JPEG_BYTES)
        (folder / "storescp").mkdir()
        with running_node(folder / "node", "listen", log_level="warning") as node, _storescp(folder) as theirs:
            ports = {"ecg-node listen": node.port(), "DCMTK storescp": theirs}
            rates: dict[str, list[float]] = {who: [] for who in ports}
            for number in range(rounds + 1):
                for who, port in ports.items():
                    rate = send_copies(page, folder / f"{who.split()[0]}-{number}", port)
                    rates[who] += [rate] if number else []  # the first round warms both up
    for who, found in rates.items():
        print(f"{who:16} {statistics.median(found):8.1f} instances/s  (of {', '.join(f'{one:.1f}' for one in found)})")
    ours, other = (statistics.median(found) for found in rates.values())
    print(f"ratio            {ours / other:8.1f}  (goal: 4)")


def send_copies(page: Path, to: Path, port: int) -> float:
    """Send copies of a page under UIDs of their own on one association; how many a second."""
    files = [str(file) for file in _copies(page, to)]
    began = time.perf_counter()
    subprocess.run([need_tool("storescu"), *OPTIONS, "127.0.0.1", str(port), *files], check=True)
    return INSTANCES / (time.perf_counter() - began)


def _copies(page: Path, to: Path) -> Iterator[Path]:
    """The same page under as many UIDs as are sent: a resend would be less work."""
    to.mkdir()
    ds = dcmread(page)
    for number in range(INSTANCES):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(to / f"{number}.dcm")
        yield to / f"{number}.dcm"


@contextmanager
def _storescp(folder: Path) -> Iterator[int]:
    port = free_port()
    command = [need_tool("storescp"), "-aet", "ECGNODE", "+xa", "--max-pdu", "131072"]
    process = subprocess.Popen([*command, "--output-directory", str(folder / "storescp"), str(port)])
    echo = [need_tool("echoscu"), "127.0.0.1", str(port)]
    wait_until(lambda: subprocess.run(echo, stderr=subprocess.DEVNULL).returncode == 0, 30, "storescp listens")
    try:
        yield port
    finally:
        end_process(process)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
