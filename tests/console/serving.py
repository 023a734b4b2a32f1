"""A console by itself, served by uvicorn on a port of its own, for what the shared site must not suffer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from starlette.applications import Starlette

from console.app import build_app
from console.passwords import Passwords
from core.roles import Role
from core.settings import Settings
from records.accounts import add_account, find_account
from records.database import Database, open_database
from records.migrate import migrate
from tests.servers import wait_until

PASSWORD = "a few words that are easy"


@dataclass
class Served:
    """A console that answers at `address`."""

    address: str
    database: Database
    app: Starlette

    def client(self, **given: object) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=60, **given)  # type: ignore[arg-type]


@contextmanager
def served(settings: Settings, **given: object) -> Iterator[Served]:
    database = open_database(settings)
    migrate(database)
    if find_account(database, "anna") is None:
        add_account(database, "anna", Role.CARDIOLOGIST, Passwords().hash(PASSWORD), "test")
    app = build_app(settings, database)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, server_header=False, **given)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 60, "the console is served")
    scheme = "https" if given.get("ssl_certfile") else "http"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"{scheme}://127.0.0.1:{port}", database, app)
    finally:
        server.should_exit = True
        thread.join(30)
        database.close()
