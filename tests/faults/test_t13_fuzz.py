"""T13: no sequence of bytes after a valid association ends the listener, a thread of it, or the service to others.

Seen to fail without `guard(assoc)` in BoundedHandler: the library's thread dies of malformed command sets. `make fuzz`
runs 200,000 cases.
"""

from collections.abc import Iterator

import pytest

from tests.faults.attacked import Attacked
from tests.faults.fuzz import run_cases
from tests.node import running_node
from tests.tally import Report

SEED = 20_260_101


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    with running_node(tmp_path_factory.mktemp("node"), "listen", pdu_timeout_s=3) as node:
        yield Attacked(node)


def test_two_thousand_mutated_exchanges_do_no_harm(attacked: Attacked, tally: Report) -> None:
    outcome = run_cases(attacked, 2_000, SEED)
    tally("T13", cases=outcome.cases, violations=outcome.violations)
    assert (outcome.cases, outcome.deaths, outcome.unanswered, outcome.raised, outcome.outside) == (2_000, 0, 0, [], [])
    attacked.is_as_before()
