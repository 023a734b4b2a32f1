"""Counts what the tests of the T-rows did, for docs/risks.md.

A row's tests carry its number in their file's or function's name: `test_t03_kill_worker.py`. Each that passes is one
case, unless it says more with the `tally` fixture. Nothing is written unless `TALLY_FILE` names a file; then the rows
that ran replace those of an earlier run.
"""

import json
import os
import platform
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.version import code_version

FILE_VARIABLE = "TALLY_FILE"
SEED_VARIABLE = "FAULTS_SEED"
_ROW = re.compile(r"(?:^|/|::)test_((?:t\d\d_)+)")
Report = Callable[..., None]


@dataclass
class Row:
    """Sums over the tests of one row; a client's acknowledged ECG that is gone is `lost`."""

    tests: int = 0
    failed: int = 0
    skipped: int = 0
    cases: int = 0
    kills: int = 0
    lost: int = 0
    duplicated: int = 0
    violations: int = 0
    seconds: float = 0.0


_rows: dict[str, Row] = {}
_SAID = pytest.StashKey[list[str]]()


def seed_of_run() -> int:
    """The seed of every random choice in a run, `FAULTS_SEED`; 1 unless set."""
    return int(os.environ.get(SEED_VARIABLE, "1"))


@pytest.fixture(scope="session")
def seed() -> int:
    return seed_of_run()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Report:
    """`tally("T03", cases=20, kills=20, lost=0, duplicated=0, violations=0)`: adds to a row's sums."""
    said = request.node.stash.setdefault(_SAID, [])

    def report(row: str, **sums: int) -> None:
        said.append(row)
        found = _rows.setdefault(row, Row())
        for name, count in sums.items():
            assert name in ("cases", "kills", "lost", "duplicated", "violations"), name
            setattr(found, name, getattr(found, name) + count)

    return report


def rows_of(nodeid: str) -> list[str]:
    """The T-numbers in a test's name."""
    return [number.upper() for found in _ROW.findall(nodeid) for number in found.strip("_").split("_")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    said = item.stash.get(_SAID, [])
    for name in dict.fromkeys(said or rows_of(item.nodeid)):
        row = _rows.setdefault(name, Row())
        row.seconds += report.duration
        row.failed += report.failed
        row.skipped += report.skipped
        if report.when == "call" and not report.skipped:
            row.tests += 1
            row.cases += report.passed and not said
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    ran = {name: row for name, row in _rows.items() if row.tests or row.failed}
    save_rows(ran, seed_of_run())


def save_rows(rows: Mapping[str, Row], seed: int) -> None:
    """Replace these rows in the file that `TALLY_FILE` names, if it names one."""
    named = os.environ.get(FILE_VARIABLE)
    if not named or not rows:
        return
    path = Path(named)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    run = {"at": datetime.now(UTC).isoformat(timespec="minutes"), "seed": seed, "code": code_version()}
    run |= {"cores": len(os.sched_getaffinity(0)), "system": f"{platform.system()} {platform.machine()}"}
    for name, row in rows.items():
        kept[name] = {**asdict(row), "seconds": round(row.seconds, 1), **run}
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
