"""Fixtures of the fault tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import FaultNode, Forks, MakeNode, database_of
from tests.faults.scripted_pacs import ScriptedPacs


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """The fork server of the run."""
    server = Forks()
    yield server
    server.close()


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[ScriptedPacs]:
    """A PACS of the test's own, which takes everything unless it is told otherwise."""
    scp = ScriptedPacs(tmp_path / "pacs").start()
    yield scp
    scp.stop()


@pytest.fixture
def make_node(request: pytest.FixtureRequest, tmp_path: Path, forks: Forks) -> Iterator[MakeNode]:
    """Makes the test's node on a new database of a kind; its settings are given by name."""
    made: list[FaultNode] = []

    def make(backend: str = "sqlite", **given: object) -> FaultNode:
        if "database_url" not in given:
            given["database_url"] = database_of(backend, request)
        made.append(FaultNode(tmp_path / "node", forks, **given))
        return made[-1]

    yield make
    for node in made:
        node.close()
