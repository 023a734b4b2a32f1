"""What every test may ask for: tools, real data, a settings object of its own."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.settings import Settings

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
