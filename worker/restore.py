"""A backup brought back into an empty place."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from core.errors import Rejected
from core.files import make_folder, save_durably
from core.settings import Settings
from core.states import EventKind
from records.audit import verify_trail
from records.database import Database, open_database
from records.dump import ends_with, load_database, need_empty
from records.trail import record_event
from worker.backup_store import OBJECTS, ROWS, TRAIL_KEY, Store, chunks_of, fingerprint, read_manifest, verify_backup

UNFINISHED = "restore.unfinished"


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restoration brought back, and which files the backup itself did not have."""

    name: str
    ecgs: int
    files: int
    missing: tuple[str, ...]


def restore_backup(settings: Settings, folder: Path, name: str, actor: str) -> Restored:
    """Bring a backup back into an empty data folder and an empty database. Raises Rejected before changing anything.

    The backup is verified first. Files come first and the database last, in one transaction: a restoration that was
    cut off is taken up again by calling it again.
    """
    verdict = verify_backup(folder, name)
    if verdict.faults:
        more = f" and {len(verdict.faults) - 1} more" if len(verdict.faults) > 1 else ""
        raise Rejected(f"the backup is damaged: {verdict.faults[0]}{more}; restore another one")
    manifest = read_manifest(folder / name)
    resumed = _need_empty_folder(settings.data_dir, name)
    key = _key_of(settings, folder / name, manifest)
    make_folder(settings.data_dir)
    save_durably(settings.data_dir / UNFINISHED, [name.encode()])
    database = open_database(settings.model_copy(update={"trail_key": SecretStr(key)}))
    try:
        has_rows = resumed and _holds_rows(database, manifest)
        if not has_rows:
            _need_empty_database(database, manifest, settings.data_dir)
        _bring_files(settings.data_dir, folder, name, manifest)
        if not has_rows:
            with gzip.open(folder / name / ROWS, "rb") as lines:
                load_database(database, manifest["revision"], lines)
        _need_whole_trail(database)
        record_event(database, EventKind.BACKUP_RESTORED, actor=actor, backup=name, trail_seq=manifest["trail"]["seq"])
    finally:
        database.close()
    (settings.data_dir / UNFINISHED).unlink()
    return Restored(name, manifest["rows"]["instance"], len(manifest["files"]), tuple(manifest["missing"]))


def _key_of(settings: Settings, backup: Path, manifest: dict[str, Any]) -> str:
    """The trail's key: the site's setting, or the one in the backup; the rows must have been made with it."""
    key = settings.trail_key.get_secret_value()
    if not key and TRAIL_KEY in manifest["own"]:
        key = (backup / TRAIL_KEY).read_text(encoding="ascii").strip()
    if fingerprint(key.encode()) != manifest["key"]:
        raise Rejected("trail_key is not the one that this node had: set it to that one, and restore again")
    return key


def _need_empty_database(database: Database, manifest: dict[str, Any], data_dir: Path) -> None:
    try:
        need_empty(database, manifest["revision"])
    except Rejected:
        (data_dir / UNFINISHED).unlink()
        raise


def _holds_rows(database: Database, manifest: dict[str, Any]) -> bool:
    """Whether a restoration of this backup that was cut off got as far as the rows."""
    seq, last = manifest["trail"]["seq"], manifest["trail"]["hash"]
    return bool(seq) and ends_with(database, seq, last)


def _need_empty_folder(data_dir: Path, name: str) -> bool:
    """Whether an earlier restoration of this backup into the folder was cut off. Raises Rejected when it is in use."""
    # A temporary file is what a kill leaves of the very first step
    if not data_dir.exists() or all(path.suffix == ".part" for path in data_dir.iterdir()):
        return False
    unfinished = data_dir / UNFINISHED
    if not unfinished.exists() or unfinished.read_text(encoding="ascii") != name:
        raise Rejected(f"{data_dir} is not empty: restore only into a new data folder; nothing was changed")
    return True


def _bring_files(data_dir: Path, folder: Path, name: str, manifest: dict[str, Any]) -> None:
    store = Store(folder / OBJECTS)
    for path in manifest["own"]:
        if path != ROWS:
            save_durably(data_dir / path, chunks_of(folder / name / path))
    for path, digest in manifest["files"].items():
        if not (data_dir / path).exists():
            save_durably(data_dir / path, chunks_of(store.path(digest)))


def _need_whole_trail(database: Database) -> None:
    verdict = verify_trail(database)
    if verdict.fault:
        raise Rejected(f"the trail of this backup does not hold: {verdict.fault}; it was like that when it was taken")
