"""What a listener holds in memory at rest, after a hundred ECGs: `python -m benchmarks.memory`."""

import tempfile
from pathlib import Path

from benchmarks.pages import page_of
from benchmarks.receiving import JPEG_BYTES, send_copies
from tests.node import running_node

ROUNDS = 3


def main() -> None:
    """Print the resident size of the process before and after work."""
    with tempfile.TemporaryDirectory(prefix="ecg-node-bench-") as name:
        folder = Path(name)
        page = page_of(folder, JPEG_BYTES)
        with running_node(folder / "node", "listen", log_level="warning") as node:
            pid = node.processes["listen"].pid
            print(f"listener, just started    {_resident_mb(pid):6.0f} MB resident")
            for number in range(ROUNDS):
                send_copies(page, folder / str(number), node.port())
            print(f"listener, after its work  {_resident_mb(pid):6.0f} MB resident  (goal: below 150)")


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(kilobytes) / 1024


if __name__ == "__main__":
    main()
