"""T26: secrets that are empty or known to everyone, and files that everyone can read, stop the start by name.

Seen to fail without the `_secrets_are_secret` validator and without the look at the file's mode.
"""

from pathlib import Path

import pytest

from core.errors import BadSettings
from core.settings import read_settings
from tests.cli_runs import run_cli

WEAK = {
    "database_url": [
        "postgresql://ecg@db.example.org/ecg",
        "postgresql://ecg:postgres@db.example.org/ecg",
        "postgresql://ecg:ecg@127.0.0.1/ecg",
        "postgresql://ecg:ChangeMe@db.example.org/ecg",
    ],
    "broker_url": [
        "redis://broker.example.org/0",
        "redis://:redis@broker.example.org/0",
        "redis://:password@127.0.0.1",
    ],
    "trail_key": ["secret", "short-key", "changeme"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WEAK.items() for value in values])
def test_a_weak_secret_is_refused_by_name_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=name) as refused:
        read_settings(**{name: value})
    assert value not in str(refused.value)


def test_the_start_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    done = run_cli(["listen"], data_dir=tmp_path / "data", trail_key=WEAK["trail_key"][1])
    assert done.returncode == 1
    assert "trail_key" in done.stderr
    assert WEAK["trail_key"][1] not in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()


def test_a_demo_may_have_none(tmp_path: Path) -> None:
    done = run_cli(["migrate"], data_dir=tmp_path / "data", demo="true", trail_key="short-key")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("mode", "code"), [(0o644, 1), (0o640, 0), (0o600, 0)])
def test_a_file_with_secrets_that_everyone_can_read_is_named(mode: int, code: int, tmp_path: Path) -> None:
    config = tmp_path / "ecg-node.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\ntrail_key = "c92f2a7e1b8d4c6f9a3e"\n')
    config.chmod(mode)
    done = run_cli(["migrate"], config)
    assert done.returncode == code, done.stderr
    assert (str(config) in done.stderr.replace("\n", "")) == bool(code)


def test_a_file_without_secrets_may_be_read_by_everyone(tmp_path: Path) -> None:
    config = tmp_path / "ecg-node.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n')
    config.chmod(0o644)
    assert run_cli(["migrate"], config).returncode == 0
