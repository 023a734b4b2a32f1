"""One node and one Orthanc for all tests of this folder: starting a worker costs seconds of CPU."""

from collections.abc import Iterator

import pytest

from tests.node import Node, running_node
from tests.orthanc import Orthanc
from tests.servers import free_port

LEASE_S = 10.0


@pytest.fixture(scope="session")
def house(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Listener, worker and sender with Orthanc as PACS and a broker that was never started."""
    with running_node(
        tmp_path_factory.mktemp("house"),
        "send",
        "work",
        "listen",
        demo="false",
        broker_url=f"redis://127.0.0.1:{free_port()}/0",
        callers={"carts": {"ae_titles": '["CART"]'}, "emergency": {"ae_titles": '["RESUS"]', "stat": "true"}},
        destinations={"orthanc": orthanc.destination},
        stat_study_description="chest pain",
        lease_s=LEASE_S,
    ) as node:
        yield node
