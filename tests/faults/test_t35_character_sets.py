"""T35: names in every character set of pydicom's files go through the whole node with their bytes and meaning.

Seen to fail with texts decoded as UTF-8 in received_header.texts_of, and with names decoded and encoded again in
headers.copy_elements.
"""

from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_charset_files
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from sqlalchemy import select

from dicom_node.scu import Outgoing
from records.tables import Instance
from tests.faults.harness import FaultNode, MakeNode
from tests.faults.objects import ecg_object
from tests.faults.scripted_pacs import ScriptedPacs
from tests.tally import Report

NAME = 0x00100010


@pytest.fixture
def node(pacs: ScriptedPacs, make_node: MakeNode) -> FaultNode:
    made = make_node(destinations=pacs.destinations, send_timeout_s=10)
    made.start("listen", "work", "send")
    return made


def _raw(dataset: Dataset) -> bytes:
    element = dataset.get_item(NAME)
    assert isinstance(element, RawDataElement)
    return (element.value or b"").rstrip(b" ")


def _named_like(path: Path, number: int) -> tuple[Outgoing, Dataset]:
    source = pydicom.dcmread(path)
    kept = pydicom.dcmread(path)
    one = ecg_object(
        number, SpecificCharacterSet=source.get("SpecificCharacterSet", ""), PatientName=source.PatientName
    )
    return one, kept


def test_every_name_is_kept_shown_and_sent_as_it_was_given(node: FaultNode, pacs: ScriptedPacs, tally: Report) -> None:
    paths = [Path(path) for path in get_charset_files("*.dcm") if "PatientName" in pydicom.dcmread(path)]
    named = [_named_like(path, number) for number, path in enumerate(sorted(paths))]
    assert len(named) > 10
    outcomes = node.push([one for one, _source in named])
    assert {outcome.status for outcome in outcomes} == {0x0000}
    for one, source in named:
        sent = {uid for _kind, uid, _state in node.wait_delivered(one.sop_instance_uid).reports}
        with node.database.reading() as session:
            row = session.scalars(select(Instance).where(Instance.sop_instance_uid == one.sop_instance_uid)).one()
        assert row.patient_name == str(source.PatientName).strip()
        for uid in sent:
            report = pydicom.dcmread(pacs.folder / f"{uid}.dcm")
            assert _raw(report) == _raw(pydicom.dcmread(node.folder / row.path)), source.filename
            assert report.PatientName == source.PatientName
    tally("T35", cases=len(named))
