"""What every test may ask for: tools, real data, a settings object of its own."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.settings import Settings
from tests.tally import pytest_runtest_makereport, pytest_sessionfinish, seed, tally  # noqa: F401 - hooks and fixtures

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from records.database import Database
    from tests.orthanc import Orthanc
    from tests.servers import PostgreSql

# The width of a terminal that runs the tests must not be that of the commands' tables
os.environ.pop("COLUMNS", None)
ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


def need_tool(name: str) -> str:
    """Path of a program; without it the test is skipped, and fails in CI."""
    beside = ROOT / ".venv" / "bin" / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found:
        return found
    missing = f"{name} is not installed; `make test-tools` installs it"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def need_root() -> None:
    """Own network and mount namespaces need root; without it the test is skipped, and fails in CI."""
    if os.geteuid() == 0:
        return
    if os.environ.get("CI"):
        pytest.fail("this test makes namespaces and must run as root in CI")
    pytest.skip("this test makes namespaces; run it as root")


def need_data(name: str = "") -> Path:
    """A file or folder of the real ECGs; without it the test is skipped."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there: real ECGs are not part of the repository")
    return path


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings in a folder of the test's own: loopback, any free port, no disk reserve."""

    def make(**given: object) -> Settings:
        defaults: dict[str, object] = {
            "data_dir": tmp_path / "node",
            "listen_port": 0,
            "demo": True,
            "disk_reserve_bytes": 0,
            "disk_reserve_fraction": 0.0,
            "installation": "test",
        }
        return Settings(**(defaults | given))

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture(scope="session")
def postgresql() -> Iterator["PostgreSql"]:
    """One PostgreSQL for the whole run; each test makes a database of its own in it."""
    from tests.servers import running_postgresql

    # A socket's path may have 107 characters at most, and the server's user must be able to enter the folder
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        with running_postgresql(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Orthanc"]:
    """One Orthanc as PACS for the whole run, with what other tests sent there; one that stops it makes its own."""
    from tests.orthanc import running_orthanc

    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """One Chromium for the whole run; each test opens pages of its own in it."""
    from tests.browsers import running_chromium

    with running_chromium() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of an empty database of each kind that the node supports; empty means SQLite in the data folder."""
    if request.param == "sqlite":
        return ""
    server: PostgreSql = request.getfixturevalue("postgresql")
    return server.make_database()


@pytest.fixture
def database(make_settings: Callable[..., Settings], database_url: str) -> Iterator["Database"]:
    """A migrated database, once on SQLite and once on PostgreSQL."""
    from records.database import open_database
    from records.migrate import migrate

    opened = open_database(make_settings(database_url=database_url))
    migrate(opened)
    yield opened
    opened.close()
