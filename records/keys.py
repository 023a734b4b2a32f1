"""The key of the trail's hash chain."""

import contextlib
import os
import secrets
from pathlib import Path

from core.errors import BadSettings
from core.files import make_folder, sync_folder
from core.settings import Settings

KEY_BYTES = 32


def read_or_make_key(settings: Settings) -> bytes:
    """The configured key, or the one in `keys/trail.key`, made with mode 0600 on the first start."""
    given = settings.trail_key.get_secret_value()
    if given:
        return given.encode()
    path = settings.data_dir / "keys" / "trail.key"
    make_folder(path.parent)
    if not path.exists():
        _make_key(path)
    key = path.read_bytes().strip()
    if len(key) != 2 * KEY_BYTES:
        raise BadSettings(f"{path} is damaged ({len(key)} characters, not {2 * KEY_BYTES}); restore it from a backup")
    return key


def _make_key(path: Path) -> None:
    """The name appears with the whole key behind it; of two processes that start together one makes it."""
    part = path.with_name(f"{secrets.token_hex(16)}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_hex(KEY_BYTES).encode())
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(part, path)
    part.unlink()
    sync_folder(path.parent)
