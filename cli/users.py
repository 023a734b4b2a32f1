"""`ecg-node users`: who may look at the console."""

import getpass
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.common import open_records, out
from core.errors import Rejected
from core.roles import Role
from core.settings import read_settings

app = typer.Typer(help="Accounts of the console.", no_args_is_help=True)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

Name = Annotated[str, typer.Argument(help="Name of the account.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="File that holds the password; - is standard input.")
]


@app.callback()
def users() -> None:
    """Accounts of the console."""


@app.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the person may do.")] = Role.VIEWER,
    password_file: PasswordFile = None,
) -> None:
    """Add an account; the password is asked for, or read from a file or standard input."""
    from console.passwords import Passwords
    from records.accounts import add_account

    known_as = _good_name(name)
    hashed = Passwords().hash(_password(known_as, password_file))
    with open_records(read_settings()) as database:
        add_account(database, known_as, role, hashed, _me())
    out.print(f"{known_as} may log in as {role.value}", highlight=False)


@app.command()
def passwd(name: Name, password_file: PasswordFile = None) -> None:
    """Set a new password; every login of the account ends."""
    from console.passwords import Passwords
    from records.accounts import change_password

    hashed = Passwords().hash(_password(name.lower(), password_file))
    with open_records(read_settings()) as database:
        change_password(database, name.lower(), hashed, _me())
    out.print(f"{name.lower()} has a new password", highlight=False)


@app.command()
def ls() -> None:
    """List the accounts."""
    from records.accounts import list_accounts

    table = Table("account", "role", "state", "password set (UTC)")
    with open_records(read_settings()) as database:
        for account in list_accounts(database):
            state = "disabled" if account.disabled else "may log in"
            table.add_row(account.name, account.role, state, f"{account.password_changed_at:%Y-%m-%d %H:%M}")
    out.print(table)


@app.command()
def disable(name: Name, enable: Annotated[bool, typer.Option("--enable", help="Let it in again.")] = False) -> None:
    """Disable an account at once, with every login it has; nothing that it did is forgotten."""
    from records.accounts import disable_account

    with open_records(read_settings()) as database:
        disable_account(database, name.lower(), _me(), disabled=not enable)
    out.print(f"{name.lower()} {'may log in again' if enable else 'is disabled'}", highlight=False)


def _good_name(name: str) -> str:
    if not _NAME.fullmatch(name.lower()):
        raise Rejected("an account's name has 1 to 64 letters, digits, dots, dashes and underscores, a letter first")
    return name.lower()


def _password(name: str, file: Path | None) -> str:
    from console.passwords import need_good_password

    password = _asked() if file is None and sys.stdin.isatty() else _read(file)
    need_good_password(password, name)
    return password


def _asked() -> str:
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise Rejected("the two passwords differ; nothing was changed")
    return first


def _read(file: Path | None) -> str:
    if file is None or str(file) == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        return file.read_text(encoding="utf-8").split("\n")[0].rstrip("\r")
    except OSError as error:
        raise Rejected(f"{file} cannot be read: {error.strerror}") from error


def _me() -> str:
    """Who runs the command, for the trail."""
    return f"cli:{getpass.getuser()}"
