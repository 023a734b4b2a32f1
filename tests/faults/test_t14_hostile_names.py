"""T14: no text of a peer becomes a path, an SQL statement or a line of a log.

Seen to fail with `received_header.is_uid` answering True for everything, and with warnings of pydicom going to standard
error: they quote the value.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from dicom_node.statuses import CALLED_AE_TITLE_UNKNOWN, Status
from records.tables import Instance
from tests.faults import raw
from tests.faults.attacked import Attacked, established
from tests.node import running_node

ABORT = 7
HOSTILE_UIDS = [
    b"../../../etc/cron.d/x",
    b"/etc/x",
    b"1.2.3\x00.4",
    b"1.2.3\n.4",
    b"1." + b"2" * 64,
    "1.2.٣.4".encode(),
    b"1.2.3'; DROP TABLE instance; --",
    b"%s%n{0}${jndi:ldap://x}",
    b"",
]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    with running_node(tmp_path_factory.mktemp("node") / "data", "listen") as node:
        yield Attacked(node)


def _everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.suffix not in (".log", ".head", ".part")}


def _refused(attacked: Attacked, message: bytes, expected: Status) -> None:
    before = _everything(attacked.node.folder.parent)
    with established(attacked.port) as peer:
        answer = peer.ask(message)
    # What is no UID in a command set already, by PS3.7, ends the association
    assert answer.status == expected or answer.kind == ABORT
    assert len(answer.comment) <= 64
    assert _everything(attacked.node.folder.parent) == before
    assert attacked.raised() == []


@pytest.mark.parametrize("uid", HOSTILE_UIDS, ids=repr)
def test_a_sop_instance_uid_that_is_none_is_refused_and_leaves_nothing(uid: bytes, attacked: Attacked) -> None:
    _refused(attacked, raw.store(uid), Status.UID_MALFORMED)


@pytest.mark.parametrize("study", [uid for uid in HOSTILE_UIDS if uid], ids=repr)
def test_a_study_uid_that_is_none_is_refused_and_leaves_nothing(study: bytes, attacked: Attacked) -> None:
    _refused(attacked, raw.store(b"1.2.14.1", raw.data_set(b"1.2.14.1", study=study)), Status.UID_MALFORMED)


@pytest.mark.parametrize("called", [b"../x", b"ECGNODE\0X", b"' OR 1=1 --", b"\xff\xfe\x00", b"ecgnode"], ids=repr)
def test_an_ae_title_that_is_not_ours_is_rejected_whatever_it_holds(called: bytes, attacked: Attacked) -> None:
    with raw.Peer(attacked.port) as peer:
        answer = peer.associate(called=called)
    assert answer.kind == 7 or answer.rejection == tuple(CALLED_AE_TITLE_UNKNOWN)
    attacked.answers_others()
    assert attacked.raised() == []


@pytest.mark.parametrize("calling", [b"../../x", b"'; DROP TABLE x", b"{0}%s", b"<script>"], ids=repr)
def test_a_calling_ae_title_is_kept_as_text_and_nothing_else(calling: bytes, attacked: Attacked) -> None:
    uid = f"1.2.14.2.{abs(hash(calling)) % 10**9}"
    with established(attacked.port, calling=calling) as peer:
        assert peer.ask(raw.store(uid.encode())).status == Status.SUCCESS
    with attacked.node.database.reading() as session:
        row = session.scalars(select(Instance).where(Instance.sop_instance_uid == uid)).one()
    assert row.calling_ae_title == calling.decode("ascii")
    assert Path(row.path).parts[0] == "received"
    kept = attacked.node.folder / row.path
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_texts_that_look_like_log_lines_stay_one_value(attacked: Attacked) -> None:
    forged = b'ok"}\r\n{"event": "forged", "level": "info"}'
    with raw.Peer(attacked.port) as peer:
        peer.associate(calling=forged[:16], called=b"ECGNODE")
    with established(attacked.port) as peer:
        peer.ask(raw.store(forged))
    assert '{"event": "forged"' not in attacked.node.log("listen")
