"""Which code is running, for the records."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent / ".git"


@cache
def code_version() -> str:
    """The package's version, with the commit when it runs from a checkout, as in 0.1.0+g1a2b3c4d."""
    try:
        released = version("ecg-node")
    except PackageNotFoundError:
        released = "0"
    commit = _commit()
    return f"{released}+g{commit[:8]}" if commit else released


def _commit() -> str:
    try:
        head = (_CHECKOUT / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        return (_CHECKOUT / head.removeprefix("ref: ")).read_text(encoding="ascii").strip()
    except OSError:
        return ""
