"""Removes what a crash left in the spool: temporary files, and files whose row was never committed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from dicom_node.spool import FOLDER
from records.database import Database
from records.instances import find_known_paths

# Longer than the longest transaction: a younger file may belong to one that is still running
SETTLED_S = 45.0
_DAYS_BACK = 2
_JUMP_S = 5.0  # wall clock against monotonic clock between two looks: above what is slewed
_log = structlog.get_logger(__name__)


class Sweep:
    """Looks at recent days once, then at what came since the last look."""

    def __init__(self, data_dir: Path, database: Database) -> None:
        self._data_dir = data_dir
        self._database = database
        self._since = 0.0
        self._drift = time.time() - time.monotonic()
        self._quiet_until = 0.0

    def __call__(self) -> int:
        """Sweep once; 0, because there is never more to do at once. Raises DatabaseAway."""
        if self._clock_was_set():
            return 0
        settled = time.time() - SETTLED_S
        found = {path: path.stat().st_mtime for path in self._files() if path.exists()}
        old = [path for path, at in found.items() if self._since <= at <= settled]
        names = {str(path.relative_to(self._data_dir)): path for path in old if path.suffix == ".dcm"}
        known = find_known_paths(self._database, list(names))
        orphans = [path for name, path in names.items() if name not in known]
        parts = [path for path in old if path.suffix == ".part"]
        for path in orphans + parts:
            # Nothing of it was acknowledged: the sender has it still, and sends it again
            path.unlink(missing_ok=True)
            _log.warning("unacknowledged_file_removed", file=str(path.relative_to(self._data_dir)))
        self._since = settled - SETTLED_S
        return 0

    def _clock_was_set(self) -> bool:
        """Whether the clock was set a moment ago: a file of a transaction that is still running then looks old."""
        now = time.monotonic()
        drift = time.time() - now
        if abs(drift - self._drift) > _JUMP_S:
            self._drift, self._quiet_until = drift, now + SETTLED_S
            _log.warning("clock_was_set", what_now="unacknowledged files are looked for again in a while")
        return now < self._quiet_until

    def _files(self) -> Iterator[Path]:
        today = datetime.now(UTC)
        for back in range(_DAYS_BACK):
            day = today - timedelta(days=back)
            yield from (self._data_dir / FOLDER / day.strftime("%Y/%m/%d")).glob("*")
        yield from self._data_dir.glob("*.part")
