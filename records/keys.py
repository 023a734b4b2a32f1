"""The key of the trail's hash chain."""

import os
import secrets

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
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES).encode())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError:
        pass
    key = path.read_bytes().strip()
    if len(key) != 2 * KEY_BYTES:
        raise BadSettings(f"{path} is damaged ({len(key)} characters, not {2 * KEY_BYTES}); restore it from a backup")
    return key
