"""What must always hold on disk: every row has its file, and nothing lies there that no row names. Changes nothing."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from core.files import RESULTS_FOLDER, result_name, sha256_of
from core.settings import Settings
from dicom_node.received_header import SOP_INSTANCE_UID, uid_of
from dicom_node.spool import FOLDER, data_set_of
from dicom_node.strict import Unreadable, walk
from records.checks import KeptFile, Looked, list_kept_files, list_kept_results
from records.database import Database

# Younger files may belong to a transaction that still runs, or wait for the sweep
LEFT_BEHIND_AFTER_S = 60.0


def check_files(settings: Settings, database: Database, quick: bool = False) -> list[Looked]:
    """Received files, results and what lies between them; `quick` looks at presence and size only."""
    old = time.time() - LEFT_BEHIND_AFTER_S
    # Found before the rows are read: a file that comes in between has a row and is no finding
    lying = {
        FOLDER: _files(settings.data_dir / FOLDER, old),
        RESULTS_FOLDER: _files(settings.data_dir / RESULTS_FOLDER, old),
    }
    received, received_paths = _received(settings, database, quick)
    results, result_paths = _results(settings, database, quick)
    known = {FOLDER: received_paths, RESULTS_FOLDER: result_paths}
    return [received, results, _left_behind(settings.data_dir, lying, known, old)]


def _received(settings: Settings, database: Database, quick: bool) -> tuple[Looked, set[str]]:
    paths, findings = set(), []
    for kept in list_kept_files(database):
        paths.add(kept.path)
        fault = _fault_of(settings.data_dir / kept.path, kept, settings.max_nesting, quick)
        if fault:
            findings.append(f"ECG {kept.ecg_id}: {kept.path} {fault}")
    return Looked("every received ECG has its file, as it came", len(paths), tuple(findings)), paths


def _fault_of(path: Path, kept: KeptFile, max_nesting: int, quick: bool) -> str | None:
    if not path.is_file():
        return "is gone"
    if path.stat().st_size != kept.size_bytes:
        return f"has {path.stat().st_size} bytes, not {kept.size_bytes}"
    if quick:
        return None
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != kept.file_sha256:
        return "was changed: its SHA-256 is not the recorded one"
    try:
        walked = walk(data_set_of(content), kept.transfer_syntax_uid, (SOP_INSTANCE_UID,), max_nesting)
    except Unreadable as error:
        return f"cannot be read: {error}"
    found = uid_of(walked.values.get(SOP_INSTANCE_UID, b""))
    return None if found == kept.sop_instance_uid else "holds another instance than its row says"


def _results(settings: Settings, database: Database, quick: bool) -> tuple[Looked, set[str]]:
    paths, findings = set(), []
    for sha256 in set(list_kept_results(database)):
        name = result_name(sha256)
        paths.add(name)
        path = settings.data_dir / name
        if not path.is_file():
            findings.append(f"{name} is gone")
        elif not quick and sha256_of(path) != sha256:
            findings.append(f"{name} was changed")
    return Looked("every result that a row names is there", len(paths), tuple(findings)), paths


def _files(folder: Path, old: float) -> list[Path]:
    return [path for path in folder.rglob("*") if _is_old_file(path, old)] if folder.is_dir() else []


def _is_old_file(path: Path, old: float) -> bool:
    try:
        return path.is_file() and path.stat().st_mtime < old
    except FileNotFoundError:
        return False  # swept, or renamed to its final name, between the two looks


def _left_behind(data_dir: Path, lying: dict[str, list[Path]], known: dict[str, set[str]], old: float) -> Looked:
    findings = [str(path.name) for path in data_dir.glob("*.part") if _is_old_file(path, old)]
    findings += [name for folder, files in lying.items() for name in _unknown(data_dir, files, known[folder])]
    number = sum(len(files) for files in lying.values())
    return Looked(
        "nothing lies on disk that no row names", number, tuple(f"{one}: no row names it" for one in findings)
    )


def _unknown(data_dir: Path, files: list[Path], known: set[str]) -> Iterator[str]:
    for path in files:
        name = str(path.relative_to(data_dir))
        if name not in known and path.exists():
            yield name
