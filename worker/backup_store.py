"""What a folder of backups holds: files under their SHA-256, and manifests that name all that a backup needs."""

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from core.errors import Rejected
from core.files import save_durably, sha256_of

FORMAT = 1
OBJECTS, KEYS, MANIFEST, ROWS = "objects", "keys", "manifest.json", "database.jsonl.gz"
TRAIL_KEY = f"{KEYS}/trail.key"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found; `faults` is empty when the backup is whole."""

    name: str
    files: int
    faults: tuple[str, ...]


class Store:
    """Files under their SHA-256, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copied = 0
        self.copied_bytes = 0

    def path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def keep(self, source: Path, name: str) -> bool:
        """Copy a file unless it is there; False when its bytes are not those of its SHA-256, or are gone."""
        target = self.path(name)
        if target.exists():
            return True
        try:
            save_durably(target, chunks_of(source))
        except FileNotFoundError:
            return False
        if sha256_of(target) != name:
            target.unlink()
            return False
        self.copied += 1
        self.copied_bytes += target.stat().st_size
        return True


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def fingerprint(key: bytes) -> str:
    return hmac.new(key, b"ecg-node backup", sha256).hexdigest()


def sealed(manifest: dict[str, Any]) -> bytes:
    body = json.dumps(manifest, sort_keys=True).encode("ascii")
    return json.dumps({"sha256": sha256(body).hexdigest(), "manifest": manifest}, sort_keys=True).encode("ascii")


def list_backups(folder: Path) -> list[str]:
    """Names of the backups in a folder, oldest first."""
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}") if path.parent.suffix != ".part")


def choose_backup(folder: Path, name: str | None) -> str:
    """The named backup, or the newest. Raises Rejected."""
    names = list_backups(folder)
    if not names:
        raise Rejected(f"{folder} holds no backup")
    if name and name not in names:
        raise Rejected(f"{folder} holds no backup {name}; there are: {', '.join(names)}")
    return name or names[-1]


def verify_backup(folder: Path, name: str) -> Verdict:
    """Read every byte of a backup and hold it against its SHA-256."""
    try:
        manifest = read_manifest(folder / name)
    except Rejected as error:
        return Verdict(name, 0, (str(error),))
    store = Store(folder / OBJECTS)
    own = {path: (folder / name / path, digest) for path, digest in manifest["own"].items()}
    files = {path: (store.path(digest), digest) for path, digest in manifest["files"].items()}
    faults = [fault for path, (at, digest) in {**own, **files}.items() if (fault := _fault(path, at, digest))]
    return Verdict(name, len(own) + len(files), tuple(faults))


def _fault(path: str, at: Path, digest: str) -> str | None:
    if not at.is_file():
        return f"{path} is gone from the backup"
    return None if sha256_of(at) == digest else f"{path} was changed in the backup"


def read_manifest(folder: Path) -> dict[str, Any]:
    try:
        sealed = json.loads((folder / MANIFEST).read_text(encoding="ascii"))
        manifest: dict[str, Any] = sealed["manifest"]
        good = sealed["sha256"] == sha256(json.dumps(manifest, sort_keys=True).encode("ascii")).hexdigest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Rejected(f"{folder / MANIFEST} cannot be read; take another backup") from error
    if not good:
        raise Rejected(f"{folder / MANIFEST} was changed; take another backup")
    if manifest["format"] != FORMAT:
        raise Rejected(f"{folder} was made by a newer version (format {manifest['format']}); restore with that one")
    return manifest
