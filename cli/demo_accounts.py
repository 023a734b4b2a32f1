"""Accounts of a demo: one for each role, with one random password that is printed and kept nowhere."""

import secrets

from cli.common import out
from core.roles import Role
from core.settings import Settings


def print_console(settings: Settings) -> None:
    """Make the demo's accounts, and print where the console is and how to log in."""
    from console.passwords import Passwords
    from console.process import console_address
    from records.accounts import add_account
    from records.database import open_database

    password = secrets.token_urlsafe(12)
    hashed = Passwords().hash(password)
    database = open_database(settings)
    for role in Role:
        add_account(database, role.value, role, hashed, "demo")
    database.close()
    names = ", ".join(role.value for role in (Role.CARDIOLOGIST, Role.ADMINISTRATOR, Role.VIEWER))
    out.print(
        f"[bold]The console: {console_address(settings, settings.console_port)}[/bold]\n"
        f"Log in as {names}; the password of all three, for this demo only: [bold]{password}[/bold]",
        highlight=False,
        soft_wrap=True,
    )
