"""T16, the listener's part: sequences nested deeper than 64 are refused before anything is kept.

Seen to fail with no limit in strict._Walk._open: 0x0000 for 65 and deeper.
"""

import struct
from collections.abc import Iterator

import pytest

from dicom_node.statuses import Status
from tests.faults import raw
from tests.faults.attacked import Attacked, established
from tests.node import running_node

MOST = 64
_ITEM, _SEQUENCE, _ENDS = "<HHI", "<HHI", struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
_UNDEFINED = 0xFFFFFFFF


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    with running_node(tmp_path_factory.mktemp("node"), "listen") as node:
        yield Attacked(node)


def _nested(depth: int) -> bytes:
    opening = struct.pack(_SEQUENCE, 0x0040, 0xA730, _UNDEFINED) + struct.pack(_ITEM, 0xFFFE, 0xE000, _UNDEFINED)
    return opening * depth + _ENDS * depth


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(1, Status.SUCCESS), (MOST, Status.SUCCESS)] + [(depth, Status.TOO_DEEP) for depth in (MOST + 1, 3_000, 100_000)],
)
def test_sixty_four_levels_are_kept_and_no_more(depth: int, expected: Status, attacked: Attacked) -> None:
    uid = f"1.2.16.{depth}".encode()
    before = len(attacked.files())
    data = raw.data_set(uid, more=_nested(depth))
    with established(attacked.port) as peer:
        peer.socket.sendall(raw.p_data(raw.STORE_CONTEXT, 3, raw.command(raw.C_STORE_RQ, uid=uid)))
        pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
        for piece in pieces[:-1]:
            peer.socket.sendall(raw.p_data(raw.STORE_CONTEXT, 0, piece))
        assert peer.ask(raw.p_data(raw.STORE_CONTEXT, 2, pieces[-1])).status == expected
    assert len(attacked.files()) - before == (expected == Status.SUCCESS)
    attacked.answers_others()


def test_a_million_tiny_elements_are_walked_in_little_memory(attacked: Attacked) -> None:
    tiny = b"".join(struct.pack("<HHI", 0x0041, 0x1000 + n % 0xEFFF, 0) for n in range(1_000_000))
    data = raw.data_set(b"1.2.16.7", more=tiny)
    with established(attacked.port) as peer:
        peer.socket.sendall(raw.p_data(raw.STORE_CONTEXT, 3, raw.command(raw.C_STORE_RQ, uid=b"1.2.16.7")))
        pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
        for piece in pieces[:-1]:
            peer.socket.sendall(raw.p_data(raw.STORE_CONTEXT, 0, piece))
        assert peer.ask(raw.p_data(raw.STORE_CONTEXT, 2, pieces[-1])).status == Status.SUCCESS
    attacked.answers_others()
