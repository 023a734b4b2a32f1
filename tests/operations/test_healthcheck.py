"""`ecg-node healthcheck` of a listener that serves TLS only. The other services' are in test_services.py."""

import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from records.tables import TrailEvent
from tests.certificates import Authority
from tests.node import Node, running_node
from tests.operations.command import Commands
from tests.operations.compose import TLS_FILE, read_compose


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A listener as docker/tls.yml has it: it asks every caller for a certificate, and has no plain port."""
    authority = Authority(tmp_path_factory.mktemp("ca"))
    shown = authority.sign("node")
    here = {
        "/run/secrets/listener_certificate": shown.certificate,
        "/run/secrets/listener_key": shown.key,
        "/run/secrets/callers_ca": authority.certificate,
        "2762": 0,
    }
    given = read_compose(TLS_FILE)["services"]["listener"]["environment"]
    settings = {name.removeprefix("ECG_NODE_").lower(): here[text] for name, text in given.items()}
    with running_node(tmp_path_factory.mktemp("node"), "listen", **settings) as running:
        yield running


@pytest.fixture
def run(node: Node) -> Commands:
    return Commands(data_dir=node.folder)


def test_it_is_found_healthy_by_a_check_that_has_no_certificate_and_leaves_no_trace(node: Node, run: Commands) -> None:
    """Seen to fail with the address taken as it is shown, `tls 127.0.0.1:...`."""
    before = _events(node)
    assert run("healthcheck", "listen") == (0, "")
    assert _events(node) == before
    assert "tls_refused" not in node.log("listen")


def test_it_is_not_healthy_when_it_is_frozen(node: Node, run: Commands) -> None:
    process = node.processes["listen"]
    process.send_signal(signal.SIGSTOP)
    try:
        status, said = run("healthcheck", "listen")
    finally:
        process.send_signal(signal.SIGCONT)
    assert (status, "no answer in time" in said) == (1, True), said


def _events(node: Node) -> int:
    with node.database.reading() as session:
        return session.scalar(select(func.count()).select_from(TrailEvent)) or 0
