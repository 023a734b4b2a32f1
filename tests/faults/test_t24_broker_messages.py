"""T24: a pickle, an unknown task or rubbish pushed into the broker is refused, and the worker goes on.

Seen to fail with `accept_content` of pickle in core/wakeup.py: the pickle's command is run.
"""

import base64
import json
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.names import CLASSIFY_TASK, ROUTINE_QUEUE
from core.states import JobState
from tests.faults.harness import Broker, FaultNode, MakeNode, running_broker
from tests.faults.objects import ecg_object
from tests.servers import wait_until
from tests.tally import Report


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker("sqlite", tmp_path / "broker") as running:
        yield running


@pytest.fixture
def node(broker: Broker, make_node: MakeNode) -> FaultNode:
    return make_node(broker_url=broker.url)


class _Command:
    """Unpickling it makes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._file), "w")


def _message(body: bytes, content_type: str, task: str = CLASSIFY_TASK) -> bytes:
    """A message as kombu's Redis transport keeps it."""
    number = str(uuid.uuid4())
    delivery = {"exchange": "", "routing_key": ROUTINE_QUEUE}
    properties = {"body_encoding": "base64", "delivery_mode": 2, "delivery_tag": number, "delivery_info": delivery}
    properties |= {"correlation_id": number, "priority": 0}
    headers = {"id": number, "task": task, "lang": "py", "retries": 0, "argsrepr": "()", "kwargsrepr": "{}"}
    message = {"body": base64.b64encode(body).decode(), "content-encoding": "utf-8", "content-type": content_type}
    return json.dumps({**message, "headers": headers, "properties": properties}).encode()


def test_hostile_messages_run_nothing_and_stop_nothing(
    node: FaultNode, broker: Broker, tmp_path: Path, tally: Report
) -> None:
    ran = tmp_path / "ran"
    empty = json.dumps([[], {}, {}]).encode()
    hostile = [
        _message(pickle.dumps([(_Command(ran),), {}, {}]), "application/x-python-serialize"),
        _message(b"!!python/object/apply:os.system ['x']", "application/x-yaml"),
        _message(empty, "application/json", "os.system"),
        _message(json.dumps([["x" * 100_000], {"evil": [1] * 1000}, {}]).encode(), "application/json"),
        _message(b"\xff\xfe{", "application/json"),
    ]
    node.start("listen", "work")
    client = broker.client
    for message in hostile:
        client.lpush(ROUTINE_QUEUE, message)
    wait_until(lambda: client.llen(ROUTINE_QUEUE) == 0, 90, "every hostile message was taken off the queue")
    ecg = ecg_object()
    node.push([ecg])
    assert node.wait_ended(ecg.sop_instance_uid).state is JobState.DONE
    assert node.processes["work"].poll() is None
    assert not ran.exists()
    wait_until(lambda: "os.system" in node.log("work"), 90, "the unknown task is in the log")
    tally("T24", cases=len(hostile))
