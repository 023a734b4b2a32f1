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
        settled = settled_before(self._database)
        found = [path for path in self._files() if self._since <= _modified(path) <= settled]
        known = find_known_results(self._database, [path.name for path in found])
        for path in found:
            if path.name not in known and remove_settled(path, settled):
                _log.warning("unnamed_result_removed", file=path.name)
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


def settled_before(database: Database) -> float:
    """Modification time below which a result belongs to no answer that is still being recorded, seconds since 1970."""
    claimed = find_oldest_claim(database)
    return min(time.time(), claimed.timestamp() if claimed else time.time()) - SETTLED_S


def remove_settled(path: Path, settled: float) -> bool:
    """Remove a result unless somebody needs it by now; whether it went. Raises FileNotFoundError.

    The name goes first: a worker that needs the same bytes either wrote them anew or made them young before.
    """
    aside = aside_of(path)
    path.rename(aside)
    if _modified(aside) > settled:
        aside.rename(path)
        return False
    aside.unlink()
    return True


def aside_of(path: Path) -> Path:
    """The name of a result that is being removed."""
    return path.with_name(f"{path.name}.part")
