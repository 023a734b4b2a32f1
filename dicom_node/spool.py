"""Received bytes on disk, undecoded, under names of our own."""

import hashlib
import secrets
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from core.errors import StorageFull
from core.files import free_bytes, save_durably
from core.settings import Settings

FOLDER = "received"
# PS3.10 7.1: a sender's preamble may hold a program of another format; ours is always empty
PREAMBLE = b"\0" * 128 + b"DICM"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file that is safe on disk; `path` is relative to the data folder."""

    path: str
    content_sha256: str
    file_sha256: str
    size_bytes: int


class Spool:
    """Where received files lie, below `received/` by day."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.data_dir
        self._reserve_bytes = settings.disk_reserve_bytes
        self._reserve_fraction = settings.disk_reserve_fraction

    def need_room(self, size_bytes: int) -> None:
        """Raise StorageFull when a file of this size would eat into the reserve."""
        free, whole = free_bytes(self._root)
        if free - size_bytes < max(self._reserve_bytes, int(whole * self._reserve_fraction)):
            raise StorageFull(f"{self._root}: the disk is below its reserve; free space, nothing was acknowledged")

    def save(self, data_set: bytes, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Spooled:
        """Save a data set as a Part 10 file, so that it survives a power cut. Raises StorageFull; nothing is left."""
        head = PREAMBLE + file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        content = hashlib.sha256(data_set)
        whole = hashlib.sha256(head)
        whole.update(data_set)
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        path = f"{FOLDER}/{day}/{secrets.token_hex(16)}.dcm"
        save_durably(self._root / path, [head, data_set])
        return Spooled(path, content.hexdigest(), whole.hexdigest(), len(head) + len(data_set))

    def remove(self, spooled: Spooled) -> None:
        """Take back a file that did not come on record."""
        (self._root / spooled.path).unlink(missing_ok=True)

    def parts(self) -> list[Path]:
        """Temporary files that a crash left behind; nothing of them was acknowledged."""
        return sorted((self._root / FOLDER).rglob("*.part"))


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """File meta information in explicit VR little endian. PS3.10 7.1."""
    body = struct.pack("<HH2sHL", 2, 1, b"OB", 0, 2) + b"\0\1"
    texts = (
        (0x0002, b"UI", sop_class_uid),
        (0x0003, b"UI", sop_instance_uid),
        (0x0010, b"UI", transfer_syntax_uid),
        (0x0012, b"UI", str(PYNETDICOM_IMPLEMENTATION_UID)),
        (0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
    )
    for element, vr, text in texts:
        value = text.encode("ascii")
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        body += struct.pack("<HH2sH", 2, element, vr, len(value)) + value
    return struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def data_set_of(file: bytes) -> bytes:
    """The data set of a file that `save` wrote, as it was sent."""
    (length,) = struct.unpack_from("<L", file, len(PREAMBLE) + 8)
    return file[len(PREAMBLE) + 12 + length :]
