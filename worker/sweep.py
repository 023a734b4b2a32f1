"""Removes results that no row names: those of a worker that died, or lost its claim, before its answer was recorded."""

import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from core.files import RESULTS_FOLDER
from records.database import Database
from records.jobs import find_oldest_claim
from records.results import find_known_results

# Above what clocks of database, file server and machines differ by
SETTLED_S = 45.0
_DAYS_BACK_S = 2 * 86400.0
_log = structlog.get_logger(__name__)


class ResultSweep:
    """Looks at what came in the last two days once, then at what came since the last look.

    A file that is younger than the oldest claim may belong to an answer that is still being recorded, however long its
    worker has been frozen; it is left alone until that claim has ended or was taken over.
    """

    def __init__(self, data_dir: Path, database: Database) -> None:
        self._folder = data_dir / RESULTS_FOLDER
        self._database = database
        self._since = time.time() - _DAYS_BACK_S

    def __call__(self) -> int:
        """Sweep once; 0, because there is never more to do at once. Raises DatabaseAway."""
        claimed = find_oldest_claim(self._database)
        settled = min(time.time(), claimed.timestamp() if claimed else time.time()) - SETTLED_S
        found = [path for path in self._files() if self._since <= _modified(path) <= settled]
        known = find_known_results(self._database, [path.name for path in found])
        for path in found:
            if path.name not in known:
                _remove(path, settled)
        self._since = max(self._since, settled)
        return 0

    def _files(self) -> Iterator[Path]:
        for folder in self._folder.glob("*"):
            if _modified(folder) >= self._since:
                yield from folder.iterdir()


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(path: Path, settled: float) -> None:
    """Take the name away first: a worker that needs the same bytes either wrote them anew or made them young before."""
    aside = path.with_name(f"{path.name}.part")
    path.rename(aside)
    if _modified(aside) > settled:
        aside.rename(path)
        return
    aside.unlink()
    _log.warning("unnamed_result_removed", file=path.name)
