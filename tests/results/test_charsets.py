"""A patient's name leaves as the bytes it came in, in every character set that pydicom has a file of."""

import io
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset

from core.values import Label
from dicom_node import texts
from dicom_node.codes import FINDINGS
from dicom_node.headers import SourceHeader, read_source
from dicom_node.heatmap import build_heatmap
from dicom_node.objects import BuiltObject
from dicom_node.report import build_sr
from tests.conftest import need_tool
from tests.orthanc import Orthanc
from tests.results.sources import (
    MODEL,
    build_source,
    context,
    findings,
    judgement,
    pictures,
    put_raw,
    save_source,
    write_file,
)
from tests.results.validators import dciodvfy, dsrdump

FILES = {Path(name).stem: Path(name) for name in sorted(get_charset_files("*.dcm"))}
NAMED = [name for name in FILES if not name.startswith("chrSQ")]
# These two hold nothing but a sequence with items in character sets of their own
IN_SEQUENCES = [name for name in FILES if name.startswith("chrSQ")]


def _built(source: SourceHeader) -> tuple[BuiltObject, BuiltObject]:
    heatmap = build_heatmap(source, pictures("sc")[0], judgement(), MODEL, context())
    said = findings("sc", Label.MYOCARDIAL_INFARCTION)
    return build_sr(source, said, [heatmap], MODEL, context(), "comprehensive3d"), heatmap


def _read(one: BuiltObject) -> Dataset:
    return dcmread(io.BytesIO(one.content))


def _raw(dataset: Dataset, keyword: str) -> bytes:
    """A value as it stands in the file; only before it was decoded."""
    return bytes(dataset.get_item(keyword).value).rstrip(b" ")


def test_every_file_of_pydicom_is_here() -> None:
    assert len(FILES) >= 17
    assert len(IN_SEQUENCES) == 2


@pytest.mark.parametrize("name", NAMED)
def test_a_name_keeps_its_bytes(name: str, tmp_path: Path) -> None:
    """Seen to fail with the copy decoded and encoded again: chrX1, chrX2 and chrKoreanMulti."""
    came = dcmread(FILES[name])
    raw = _raw(came, "PatientName")
    for one in _built(read_source(FILES[name])):
        sent = _read(one)
        assert _raw(sent, "PatientName") == raw
        assert sent.SpecificCharacterSet == came.SpecificCharacterSet
        assert str(sent.PatientName) == str(came.PatientName)
        path = tmp_path / "sent.dcm"
        path.write_bytes(one.content)
        assert dciodvfy(path) == []
    assert NOTICE in _flat(dsrdump(_saved(_built(read_source(FILES[name]))[0], tmp_path)))


NOTICE = "Not verified by a physician"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _saved(one: BuiltObject, folder: Path) -> Path:
    path = folder / "sr.dcm"
    path.write_bytes(one.content)
    return path


@pytest.mark.parametrize("name", IN_SEQUENCES)
def test_a_sequence_keeps_the_character_set_of_its_items(name: str, tmp_path: Path) -> None:
    came = dcmread(FILES[name])
    dataset = build_source("sc")
    dataset.SpecificCharacterSet = came.SpecificCharacterSet
    asked = Dataset()
    asked.RequestedProcedureID, asked.ScheduledProcedureStepID = "RP", "SPS"
    (item,) = came.RequestedProcedureCodeSequence
    item.CodeValue, item.CodingSchemeDesignator = "1", "99X"
    put_raw(item, "CodeMeaning", "LO", _raw(item, "PatientName").split(b"^")[0])
    asked.RequestedProcedureCodeSequence = [item]
    dataset.RequestAttributesSequence = [asked]
    file = write_file(dataset, tmp_path / "source.dcm")
    before = dcmread(file).RequestAttributesSequence[0].RequestedProcedureCodeSequence[0]
    built = _built(read_source(file))
    for one in built:
        path = tmp_path / "sent.dcm"
        path.write_bytes(one.content)
        assert dciodvfy(path) == []
    assert NOTICE in _flat(dsrdump(_saved(built[0], tmp_path)))
    report, heatmap = map(_read, built)
    for sent in (report.ReferencedRequestSequence[0], heatmap.RequestAttributesSequence[0]):
        (code,) = sent.RequestedProcedureCodeSequence
        assert _raw(code, "CodeMeaning") == _raw(before, "CodeMeaning")
        assert code.get("SpecificCharacterSet") == before.get("SpecificCharacterSet")


@pytest.mark.parametrize("option", ["+ti", "+tb", "+te"])
@pytest.mark.parametrize("lengths", ["+e", "-e"])
def test_a_source_in_any_transfer_syntax_gives_the_same_report(option: str, lengths: str, tmp_path: Path) -> None:
    """Implicit, big endian and explicit, sequences with and without a length, as DCMTK writes them.

    Seen to fail with sequences passed on as the bytes they came in.
    """
    source = save_source(build_source("sc", "japanese", "full"), tmp_path)
    other = tmp_path / "other.dcm"
    command = [need_tool("dcmconv"), option, lengths, str(tmp_path / f"{source.sop_instance_uid}.dcm"), str(other)]
    subprocess.run(command, check=True, timeout=60)
    ours, theirs = _built(source), _built(read_source(other))
    assert [one.content for one in theirs] == [one.content for one in ours]


@pytest.mark.parametrize("charset", ["ISO_IR 999", "latin1", "\\\\"])
def test_a_character_set_that_nobody_knows_loses_no_name(charset: str, tmp_path: Path) -> None:
    dataset = build_source("sc")
    put_raw(dataset, "SpecificCharacterSet", "CS", charset.encode())
    put_raw(dataset, "PatientName", "PN", b"M\xfcller^J\xf6rg")
    file = write_file(dataset, tmp_path / "source.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in _built(read_source(file)):
            assert _raw(_read(one), "PatientName") == _raw(dcmread(file), "PatientName")


def test_our_own_texts_are_the_same_in_every_character_set() -> None:
    """JIS X 0201 has other characters for backslash and tilde."""
    ours = [value for value in vars(texts).values() if isinstance(value, str)]
    ours += [*texts.LABEL_TEXTS.values(), *texts.REASON_TEXTS.values(), *texts.COLOUR_BAR, *texts.ROWS, *texts.COLUMNS]
    ours += [code.meaning for code in FINDINGS.values()]
    for text in ours:
        assert text.isascii()
        assert not set(text) & set("\\~")


def test_a_model_named_in_other_letters_is_reported_all_the_same(tmp_path: Path) -> None:
    model = replace(MODEL, name="Modell für Ärzte 心", version="1\\2")
    source = read_source(FILES["chrH32"])
    heatmap = build_heatmap(source, pictures("sc")[0], judgement(), model, context())
    report = build_sr(source, findings("sc", Label.NORMAL), [heatmap], model, context(), "enhanced")
    for one in (report, heatmap):
        path = tmp_path / "object.dcm"
        path.write_bytes(one.content)
        assert dciodvfy(path) == []
        assert _read(one).SoftwareVersions[1] == "Modell f?r ?rzte ? 1/2"


@pytest.mark.parametrize("name", ["chrGreek", "chrH32", "chrI2", "chrX2"])
def test_orthanc_gives_back_the_name_that_came(name: str, orthanc: Orthanc) -> None:
    came = dcmread(FILES[name])
    raw = _raw(came, "PatientName")
    for one in _built(read_source(FILES[name])):
        orthanc.upload(one.content)
        back = orthanc.dataset(one.sop_instance_uid)
        assert _raw(back, "PatientName") == raw
        assert str(back.PatientName) == str(came.PatientName)
