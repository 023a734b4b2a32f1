"""Backups while the node runs, and their restoration: everything that an ECG's history needs, held against SHA-256.

A backup folder holds `objects/`, every file once under its SHA-256 for all backups together, and a folder for each
backup with the database's rows, the keys, the trail's noted head and a manifest that names it all. The manifest comes
last: a backup without one was cut off, and counts as none. Keys and noted head are read first, then the database in one
look, then the files that its rows name: nothing in a backup is newer than what refers to it.
"""

import fcntl
import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from core.errors import Rejected
from core.files import make_folder, result_name, save_durably, sha256_of, sync_folder
from core.settings import Settings
from core.states import EventKind
from core.version import code_version
from records.audit import NOTE_NAME
from records.database import Database
from records.dump import Dump, dump_database
from records.retention import find_deleted_paths, find_needed_results
from records.trail import record_event
from worker.backup_store import (
    FORMAT,
    KEYS,
    MANIFEST,
    OBJECTS,
    ROWS,
    Store,
    fingerprint,
    list_backups,
    read_manifest,
    sealed,
)

MODELS = "models"
_LOOKS = 3  # retention may delete files between the look and their copying; then the look is taken anew


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was taken; `missing` are files that rows name and that are gone or were changed in the node."""

    name: str
    ecgs: int
    files: int
    copied: int
    copied_bytes: int
    missing: tuple[str, ...]


def take_backup(settings: Settings, database: Database, folder: Path, actor: str, keep: int = 0) -> Backup:
    """Back the node up into `folder`; only files that no earlier backup there holds are copied.

    `keep` above 0 removes all but the newest so many backups. Raises Rejected, DatabaseAway and StorageFull; a backup
    that was cut off is removed by the next one.
    """
    _need_outside(folder, settings)
    with _alone(folder):
        for cut_off in folder.glob("*.part/"):
            shutil.rmtree(cut_off)
        part = folder / f"{_new_name(folder)}.part"
        make_folder(part)
        backup = _fill(part, settings, database)
        part.rename(folder / backup.name)
        sync_folder(folder)
        if keep:
            _prune(folder, keep)
    details = {"ecgs": backup.ecgs, "files": backup.files, "missing": len(backup.missing)}
    manifest = sha256_of(folder / backup.name / MANIFEST)
    record_event(database, EventKind.BACKUP_TAKEN, actor=actor, backup=backup.name, manifest=manifest, **details)
    return backup


def _need_outside(folder: Path, settings: Settings) -> None:
    if folder.resolve().is_relative_to(settings.data_dir.resolve()):
        raise Rejected(f"{folder} lies in the data folder; back up to another disk or machine")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_folder(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Rejected(f"another backup into {folder} is at work; wait for its end") from error
        yield


def _new_name(folder: Path) -> str:
    base = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    names = (base, *(f"{base}-{number}" for number in range(1, 100)))
    return next(name for name in names if not (folder / name).exists())


def _fill(part: Path, settings: Settings, database: Database) -> Backup:
    keys = _copy_keys(settings.data_dir, part)
    store = Store(part.parent / OBJECTS)
    for _ in range(_LOOKS):
        dump = _dump_into(part / ROWS, database)
        files, missing = _copy_files(dump, settings.data_dir, store)
        files |= _copy_models(settings.data_dir, store)
        if not _deleted_since(missing, database):
            break
    manifest = {
        "format": FORMAT,
        "installation": settings.installation,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": code_version(),
        "database": database.engine.dialect.name,
        "key": fingerprint(database.trail_key),
        "revision": dump.revision,
        "rows": dump.rows,
        "trail": {"seq": dump.trail_seq, "hash": dump.trail_hash},
        "own": {ROWS: sha256_of(part / ROWS), **keys},
        "files": files,
        "missing": missing,
    }
    save_durably(part / MANIFEST, [sealed(manifest)])
    name = part.name.removesuffix(".part")
    return Backup(name, dump.rows["instance"], len(files), store.copied, store.copied_bytes, tuple(missing))


def _copy_keys(data_dir: Path, part: Path) -> dict[str, str]:
    """Keys and the noted head, before the database is read: a head noted later would look like a cut-off trail."""
    copied = {}
    keys = sorted(path for path in (data_dir / KEYS).rglob("*") if path.is_file() and path.suffix != ".part")
    for path in [*keys, data_dir / NOTE_NAME]:
        if path.exists():
            name = str(path.relative_to(data_dir))
            content = path.read_bytes()
            save_durably(part / name, [content])
            copied[name] = sha256(content).hexdigest()
    return copied


def _dump_into(path: Path, database: Database) -> Dump:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=5) as packed:
            dump = dump_database(database, packed.write)
        file.flush()
        os.fsync(file.fileno())
    return dump


def _copy_files(dump: Dump, data_dir: Path, store: Store) -> tuple[dict[str, str], list[str]]:
    files, missing = {}, []
    for one in dump.files:
        path = one.path or result_name(one.sha256)
        if store.keep(data_dir / path, one.sha256):
            files[path] = one.sha256
        else:
            missing.append(path)
    return files, missing


def _copy_models(data_dir: Path, store: Store) -> dict[str, str]:
    """Models that the node may be switched to, where they lie in the data folder: a released one is needed to judge."""
    files = {}
    for path in sorted((data_dir / MODELS).rglob("*")):
        if path.is_file() and path.suffix != ".part":
            digest = sha256_of(path)
            store.keep(path, digest)
            files[str(path.relative_to(data_dir))] = digest
    return files


def _deleted_since(missing: list[str], database: Database) -> bool:
    """Whether the retention took any of these between the look and now."""
    if find_deleted_paths(database, missing):
        return True
    results = {path.rsplit("/", 1)[-1] for path in missing if path.startswith("results/")}
    return bool(results - find_needed_results(database, sorted(results)))


def _prune(folder: Path, keep: int) -> None:
    for name in list_backups(folder)[:-keep]:
        shutil.rmtree(folder / name)
    wanted = {sha for name in list_backups(folder) for sha in read_manifest(folder / name)["files"].values()}
    for path in (folder / OBJECTS).glob("*/*"):
        if path.name not in wanted:
            path.unlink()
