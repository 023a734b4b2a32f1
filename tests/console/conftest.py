"""One node that has just judged ECGs, its console, and a real browser, for all tests of this folder."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from console.passwords import Passwords
from core.roles import Role
from records.accounts import add_account
from records.audit_search import find_last_verification
from tests.console.ecgs import site_objects
from tests.node import Node, running_node
from tests.servers import free_port, wait_until
from tests.worker.scripted_pacs import ScriptedPacs

PASSWORD = "correct horse battery staple"
DEADLINE_MS = 30_000


@dataclass
class Site:
    """The running node with its console; `ecgs` are the numbers of what was pushed, by a name of the test's own."""

    node: Node
    ecgs: dict[str, int]
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.node.port('console')}"

    def client(self) -> httpx.Client:
        """A client without a login."""
        return httpx.Client(base_url=self.address, timeout=60)

    @contextmanager
    def logged_in(self, role: str) -> Iterator[httpx.Client]:
        """A client with a login of this role; each role logs in once."""
        with self.client() as client:
            if role not in self.tokens:
                assert log_in(client, role).status_code == 303
                self.tokens[role] = client.cookies["ecg_session"]
            client.cookies.set("ecg_session", self.tokens[role])
            yield client


def log_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    form = client.get("/login").text
    return client.post("/login", data={"token": field_of(form, "token"), "name": name, "password": password})


def field_of(page: str, name: str) -> str:
    """Value of a hidden field."""
    return page.split(f'name="{name}" value="', 1)[1].split('"', 1)[0]


def csrf_of(client: httpx.Client) -> str:
    return field_of(client.get("/deliveries").text, "csrf")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        taking = stack.enter_context(ScriptedPacs().running())
        refusing = stack.enter_context(ScriptedPacs([0xA900] * 1000).running())
        node = stack.enter_context(
            running_node(
                tmp_path_factory.mktemp("site"),
                "send",
                "work",
                "console",
                "listen",
                destinations={
                    "archive": _destination(taking.port),
                    "refusing": _destination(refusing.port),
                    "away": _destination(free_port()),
                },
                stat_study_description="chest pain",
                time_zone="Europe/Berlin",
                console_port=0,
                retry_first_s=3600,
                retry_most_s=3600,
            )
        )
        hashed = Passwords().hash(PASSWORD)
        for role in Role:
            add_account(node.database, role.value, role, hashed, "test")
        yield Site(node, _push(node))


def _destination(port: int) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port, "ae_title": "PACS", "sr_class": "comprehensive"}


def _push(node: Node) -> dict[str, int]:
    objects = site_objects()
    for name, (calling, one) in objects.items():
        (outcome,) = node.push([one], calling)
        assert outcome.status == 0x0000, name
    ecgs = {name: node.wait_ended(one.sop_instance_uid).ecg_id for name, (_calling, one) in objects.items()}
    wait_until(lambda: find_last_verification(node.database), 60, "the console has verified the trail")
    return ecgs


@dataclass
class Window:
    """A browser window that notes what must not happen: foreign requests, errors on the console, dialogs."""

    page: Page
    address: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def watch(self) -> "Window":
        self.page.set_default_timeout(DEADLINE_MS)
        self.page.on("request", lambda one: None if one.url.startswith(self.address) else self.foreign.append(one.url))
        self.page.on("console", lambda one: self.errors.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._dismiss)
        return self

    def _dismiss(self, dialog: object) -> None:
        self.dialogs.append(str(dialog))
        dialog.dismiss()  # type: ignore[attr-defined]

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.address}{path}")
        return self.page

    def need_quiet(self) -> None:
        assert (self.foreign, self.errors, self.dialogs) == ([], [], [])


@pytest.fixture(scope="session")
def logins(browser: Browser, site: Site) -> Iterator[Callable[[str], BrowserContext]]:
    """A browser context for each role, logged in once through the form."""
    made: dict[str, BrowserContext] = {}

    def context(role: str) -> BrowserContext:
        if role not in made:
            made[role] = browser.new_context(viewport={"width": 1360, "height": 900})
            page = made[role].new_page()
            page.goto(f"{site.address}/login")
            page.get_by_label("Name").fill(role)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(f"{site.address}/")
            page.close()
        return made[role]

    yield context
    for one in made.values():
        one.close()


@pytest.fixture
def window(logins: Callable[[str], BrowserContext], site: Site) -> Iterator[Callable[[str], Window]]:
    """Opens windows of a role; at the end of the test none of them may have seen what must not happen."""
    opened: list[Window] = []

    def make(role: str) -> Window:
        opened.append(Window(logins(role).new_page(), site.address).watch())
        return opened[-1]

    yield make
    for one in opened:
        one.page.close()
    for one in opened:
        one.need_quiet()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A PEM certificate for 127.0.0.1 that nobody signed, with its key beside it."""
    path = tmp_path / "console.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-out", str(path), "-keyout", str(path.with_suffix(".key"))]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path
