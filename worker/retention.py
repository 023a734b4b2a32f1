"""Files that the site's rule lets go are removed; the database says so first, and a crash in between is finished later.

Order for each batch: a durable note of what is about to go, the transaction that says it is gone, the removal, the
note's removal. Whatever a kill leaves is a file too many and a note, and the next run finishes it.
"""

import contextlib
import fcntl
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import Rejected
from core.files import make_folder, result_name, save_durably, sync_folder
from core.settings import Settings
from records.database import Database
from records.retention import (
    Expired,
    Rule,
    find_deleted_paths,
    find_needed_results,
    list_expired,
    record_deleted,
)
from worker.sweep import aside_of, remove_settled, settled_before

FOLDER = "retention"
_TOGETHER = 100


@dataclass(frozen=True, slots=True)
class Freed:
    """What a run let go, or would."""

    ecgs: int
    files: int
    size_bytes: int


def plan_retention(settings: Settings, database: Database) -> Freed:
    """What a run would let go now; changes nothing. Raises DatabaseAway."""
    ecgs = after = 0
    sizes: dict[str, int] = {}
    rule = rule_of(settings)
    while some := list_expired(database, rule, after, _TOGETHER):
        ecgs += len(some)
        for one in some:
            sizes[one.path] = one.size_bytes
            sizes |= {name: _size(settings.data_dir / result_name(name)) for name in one.results}
        after = some[-1].ecg_id
    return Freed(ecgs, len(sizes), sum(sizes.values()))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def run_retention(settings: Settings, database: Database, actor: str) -> Freed:
    """Remove the files of every ECG that the rule lets go, after finishing what an earlier run left.

    Raises DatabaseAway and StorageFull; what was not finished then is finished by the next run. Raises Rejected while
    another run is at work.
    """
    with _alone(settings.data_dir / FOLDER):
        for note in sorted((settings.data_dir / FOLDER).glob("*.json")):
            _finish(note, settings, database)
        return _delete_all(settings, database, actor)


def _delete_all(settings: Settings, database: Database, actor: str) -> Freed:
    ecgs = files = size_bytes = 0
    rule = rule_of(settings)
    while some := list_expired(database, rule, 0, _TOGETHER):
        note = _note(some, settings)
        gone = record_deleted(database, rule, [one.ecg_id for one in some], actor)
        removed, freed = _finish(note, settings, database)
        ecgs, files, size_bytes = ecgs + len(gone), files + removed, size_bytes + freed
    return Freed(ecgs, files, size_bytes)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_folder(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Rejected("another `ecg-node retention` is at work on this data folder; wait for its end") from error
        yield


def rule_of(settings: Settings) -> Rule:
    """The site's rule."""
    return Rule(settings.retention_days, settings.retention_rule)


def _note(some: Sequence[Expired], settings: Settings) -> Path:
    going = {
        "received": [one.path for one in some],
        "results": sorted({name for one in some for name in one.results}),
    }
    path = settings.data_dir / FOLDER / f"{secrets.token_hex(8)}.json"
    save_durably(path, [json.dumps(going).encode()])
    return path


def _finish(note: Path, settings: Settings, database: Database) -> tuple[int, int]:
    """Remove what the note names as far as the records say that it is gone; files and bytes removed."""
    going = json.loads(note.read_text(encoding="ascii"))
    settled = settled_before(database)
    for name in going["results"]:
        _put_back(settings.data_dir / result_name(name))
    received = [settings.data_dir / path for path in find_deleted_paths(database, going["received"])]
    unneeded = set(going["results"]) - find_needed_results(database, going["results"])
    results = [settings.data_dir / result_name(name) for name in unneeded]
    sizes = [_remove(path, None) for path in received] + [_remove(path, settled) for path in results]
    for folder in {path.parent for path in (*received, *results) if path.parent.is_dir()}:
        sync_folder(folder)
    if not any(path.exists() for path in results):
        note.unlink()
    gone = [size for size in sizes if size is not None]
    return len(gone), sum(gone)


def _put_back(path: Path) -> None:
    """Give a result its name again that a kill left without it."""
    with contextlib.suppress(FileNotFoundError):
        aside_of(path).rename(path)


def _remove(path: Path, settled: float | None) -> int | None:
    """Remove a file; its size, None when it was gone already or is needed again."""
    try:
        size = path.stat().st_size
        if settled is None:
            path.unlink()
        elif not remove_settled(path, settled):
            return None
    except FileNotFoundError:
        return None
    return size
