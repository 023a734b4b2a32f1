"""Progress bars on a terminal; nothing elsewhere, so that a log holds lines only."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

One = TypeVar("One")


def steps(many: Iterable[One], total: int, what: str) -> Iterable[One]:
    """The same things one by one, with a bar on standard error that says how many of `total` are done."""
    console = Console(stderr=True)
    return track(many, what, total, console=console, disable=not console.is_terminal)
