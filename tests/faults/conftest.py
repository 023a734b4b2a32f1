"""Fixtures of the fault tests."""

from collections.abc import Iterator

import pytest

from tests.faults.harness import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """The fork server of the run."""
    server = Forks()
    yield server
    server.close()
