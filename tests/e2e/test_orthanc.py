"""The PACS that tests drive: Orthanc takes, keeps over restarts, sends to peers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from core.errors import PeerAway
from dicom_node.pacs import ThrowAwayPacs
from dicom_node.scu import SendOutcome, Verdict, echo, send
from dicom_node.wrap import outgoing_of
from tests.orthanc import Orthanc, running_orthanc
from tests.servers import wait_until

ECG = outgoing_of(Path(str(get_testdata_file("waveform_ecg.dcm"))))


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        yield orthanc


def test_what_is_sent_can_be_read_back_after_a_restart(pacs: Orthanc) -> None:
    assert send(pacs.address, "TEST", [ECG], 30.0) == [SendOutcome(0, Verdict.DELIVERED, "0x0000")]
    pacs.stop()
    with pytest.raises(PeerAway):
        echo(pacs.address, "TEST", 5.0)
    pacs.start()
    assert pacs.dataset(ECG.sop_instance_uid).SOPClassUID == ECG.sop_class_uid


def test_it_sends_what_it_holds_to_a_peer_outside(pacs: Orthanc, tmp_path: Path) -> None:
    send(pacs.address, "TEST", [ECG], 30.0)
    peer = ThrowAwayPacs(tmp_path / "peer", "PEER")
    pacs.add_modality("peer", "PEER", peer.start())
    assert pacs.echo("peer")
    assert pacs.store("peer", ECG.sop_instance_uid).is_success
    wait_until((tmp_path / "peer" / f"{ECG.sop_instance_uid}.dcm").exists, 30, "the peer has it")
    peer.stop()


def test_it_answers_by_dicomweb(pacs: Orthanc) -> None:
    send(pacs.address, "TEST", [ECG], 30.0)
    found = pacs.http.get("/dicom-web/instances", headers={"Accept": "application/dicom+json"}).json()
    assert ECG.sop_instance_uid in {one["00080018"]["Value"][0] for one in found}
