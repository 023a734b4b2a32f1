"""Secrets that are none: empty, known to everyone, too short, or readable by every user of the machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# What installers, examples and people in a hurry write
KNOWN = frozenset(
    {
        "admin",
        "change-me",
        "change_me",
        "changeme",
        "default",
        "demo",
        "ecg",
        "ecg-node",
        "ecgnode",
        "example",
        "letmein",
        "orthanc",
        "pass",
        "passwd",
        "password",
        "postgres",
        "postgresql",
        "qwerty",
        "redis",
        "root",
        "secret",
        "test",
        "user",
        "valkey",
        "123456",
        "12345678",
        "123456789",
        "replace-me",
        "todo",
        "xxx",
    }
)
SHORTEST_KEY = 16  # characters of a key that nobody types
_LOCAL = frozenset({"", "127.0.0.1", "::1", "localhost"})
_SECRET_FIELDS = ("database_url", "broker_url", "trail_key", "secret", "password", "key")
OTHERS = 0o007


def find_weak(database_url: str, broker_url: str, trail_key: str) -> Iterator[tuple[str, str]]:
    """Each secret that must not be used in production, by its setting's name, with what to do."""
    for name, address in (("database_url", database_url), ("broker_url", broker_url)):
        if address and "://" in address:
            yield from _weak_password(name, address)
    if trail_key and (len(trail_key) < SHORTEST_KEY or trail_key.casefold() in KNOWN):
        yield "trail_key", f"is known or shorter than {SHORTEST_KEY} characters; leave it empty, or make one at random"


def _weak_password(name: str, address: str) -> Iterator[tuple[str, str]]:
    parts = urlsplit(address)
    if parts.scheme.startswith("sqlite"):
        return
    password = unquote(parts.password or "")
    user = unquote(parts.username or "")
    if not password:
        # Over a socket of this machine the server itself may say who is who
        if (parts.hostname or "") not in _LOCAL:
            yield name, "has no password; set one, from a file with the setting's name and _FILE behind it"
    elif password.casefold() in KNOWN or password == user:
        yield name, "has a password that everyone knows; make one at random"


def holds_secrets(given: dict[str, Any]) -> bool:
    """Whether a settings file's content holds a secret at any depth."""
    return any(
        holds_secrets(value) if isinstance(value, dict) else name in _SECRET_FIELDS and bool(value)
        for name, value in given.items()
    )


def is_open_to_others(path: Path) -> bool:
    """Whether every user of the machine may read or change a file."""
    return bool(path.stat().st_mode & OTHERS)
