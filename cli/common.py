"""What commands share: settings, a console, an open database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from core.logs import start_logging
from core.settings import Settings, read_settings

if TYPE_CHECKING:
    from records.database import Database

console = Console(stderr=True)
out = Console()


def start(process: str) -> Settings:
    """Settings of a process that runs until it is stopped, with its logs switched on."""
    settings = read_settings()
    start_logging(settings, process)
    return settings


@contextmanager
def open_records(settings: Settings) -> Iterator["Database"]:
    """The audit database with the schema that this version knows."""
    from records.database import open_database
    from records.migrate import need_current_schema

    database = open_database(settings)
    try:
        need_current_schema(database)
        yield database
    finally:
        database.close()
