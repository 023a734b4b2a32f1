"""What commands share: settings, a console, an open database."""

import os
import pwd
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


def os_user() -> str:
    """Who acts, for the trail: the user of the operating system, never a name out of the environment.

    Only where root acts, the name that sudo left there is added: nobody but root could have forged it.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"  # a container's user has no name
    before = os.environ.get("SUDO_USER")
    return f"{before} (sudo {name})" if before and os.getuid() == 0 else name


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
