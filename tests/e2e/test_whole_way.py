"""One ECG all the way, through real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from core.states import JobState
from dicom_node.pacs import ThrowAwayPacs
from dicom_node.wrap import outgoing_of
from tests.node import Node, running_node


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    scp = ThrowAwayPacs(tmp_path / "pacs")
    yield tmp_path / "pacs", scp.start()
    scp.stop()


@pytest.fixture
def node(tmp_path: Path, pacs: tuple[Path, int]) -> Iterator[Node]:
    there = {"there": {"host": "127.0.0.1", "port": pacs[1], "ae_title": "PACS"}}
    with running_node(tmp_path / "node", "send", "work", "listen", destinations=there) as running:
        yield running


def test_a_waveform_ends_as_one_sr_and_one_heat_map_at_the_pacs(node: Node, pacs: tuple[Path, int]) -> None:
    ecg = outgoing_of(Path(str(get_testdata_file("waveform_ecg.dcm"))))
    (outcome,) = node.push([ecg])
    assert outcome.status == 0x0000
    summary = node.wait_delivered(ecg.sop_instance_uid)
    assert summary.state is JobState.DONE
    assert sorted(kind for kind, _uid, _state in summary.reports) == ["heatmap", "sr"]
    assert {file.stem for file in pacs[0].glob("*.dcm")} == {uid for _kind, uid, _state in summary.reports}
