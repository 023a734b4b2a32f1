"""Results on disk, each named by its own SHA-256."""

import os
from hashlib import sha256
from pathlib import Path

from core.files import result_name, save_durably
from core.settings import Settings


def result_path(settings: Settings, name: str) -> Path:
    """Where the result with this SHA-256 lies."""
    return settings.data_dir / result_name(name)


def save_result(settings: Settings, content: bytes) -> str:
    """Save bytes before the row that names them: a crash in between leaves a file too many, never one too few."""
    name = sha256(content).hexdigest()
    path = result_path(settings, name)
    try:
        # Bytes of an earlier attempt become young again, so that no sweep takes them before this one's row is there
        os.utime(path)
        os.utime(path.parent)
    except FileNotFoundError:
        save_durably(path, [content])
    return name
