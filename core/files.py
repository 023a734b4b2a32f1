"""Bytes on disk that are still there after the plug was pulled."""

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from core.errors import StorageFull

RESULTS_FOLDER = "results"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}


def save_durably(path: Path, chunks: Iterable[bytes]) -> None:
    """Write `chunks` to `path` so that after the return a power cut finds all of it, and before it none of it.

    Order: temporary name on the same file system, mode 0600, fsync, rename, fsync of the folder. A failed fsync is
    never tried again: the kernel may have dropped the pages. Raises StorageFull; the temporary file is gone then.
    """
    part = path.with_name(f"{secrets.token_hex(16)}.part")
    try:
        make_folder(path.parent)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, path)
        sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise storage_error(error, path.parent) from error


def storage_error(error: OSError, folder: Path) -> StorageFull | OSError:
    """The node's word for an operating system error while writing below `folder`."""
    if error.errno in _FULL:
        return StorageFull(f"{folder}: {error.strerror}; free space or mend the disk, nothing was acknowledged")
    return error


def make_folder(folder: Path) -> None:
    """Make `folder` with mode 0700 and make the making of it durable."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and unlinks inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> tuple[int, int]:
    """Free bytes for us, and the size of the file system, of the nearest folder that exists."""
    while not folder.exists():
        folder = folder.parent
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_name(sha256: str) -> str:
    """Where the result with this SHA-256 lies below the data folder."""
    return f"{RESULTS_FOLDER}/{sha256[:2]}/{sha256}"
