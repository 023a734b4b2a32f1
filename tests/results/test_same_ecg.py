"""A report says which other objects show the same ECG, and stays valid."""

from pathlib import Path

import pytest
from pydicom import dcmread

from core.values import Label
from dicom_node.codes import IMAGING_MEASUREMENT_REPORT, SAME_ECG, ReportCodes
from dicom_node.report import build_sr
from tests.results.sources import MODEL, build_source, context, findings, save_source
from tests.results.validators import dciodvfy, dsrdump, pixelmed

PDF = "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.mark.parametrize("sr_class", ["comprehensive3d", "comprehensive", "enhanced"])
def test_a_report_names_the_other_object_of_its_ecg(sr_class: str, tmp_path: Path) -> None:
    source = save_source(build_source("12lead"), tmp_path)
    about = context(
        same_ecg=((source.study_instance_uid, "1.2.30", PDF, "1.2.30.1"),),
        codes=ReportCodes(title=IMAGING_MEASUREMENT_REPORT),
    )
    report = build_sr(source, findings("12lead", Label.NORMAL), [], MODEL, about, sr_class)
    path = tmp_path / "sr.dcm"
    path.write_bytes(report.content)
    assert dciodvfy(path) == []
    assert f'"{SAME_ECG.meaning}")="Encapsulated PDF 1.2.30.1"' in dsrdump(path).replace(",DCM", "")
    assert not [line for line in pixelmed(path) if "context group 100" not in line]
    (study,) = dcmread(path).CurrentRequestedProcedureEvidenceSequence
    said = [
        one.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert said == [source.sop_instance_uid, "1.2.30.1"]
