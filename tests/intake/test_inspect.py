"""`ecg-node inspect`: what a file is and which picture would be judged, without a database."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.settings import PREFIX
from dicom_node.ecg_object import Limits
from dicom_node.image import read_ecg
from model.preprocessing import prepare
from model.rendering import draw_standard_sheet
from tests.conftest import ROOT
from tests.intake.image_objects import Format, build_image, ecg_like, save
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf
from tests.intake.waveform_objects import Group, beats, build_waveform
from worker.decoder_child import centred

CANARY = "ZZCANARY"


def _inspect(file: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """In a folder of its own, which must stay as it was; no setting is given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return subprocess.run(
        [sys.executable, "-m", "cli", "inspect", str(file), *options],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def _found(file: Path, folder: Path, *options: str) -> dict[str, Any]:
    done = _inspect(file, folder, "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def waveform(tmp_path: Path) -> Path:
    dataset = build_waveform(Group(beats(1.2), label="MEDIAN BEAT", originality="DERIVED"), Group(beats()))
    dataset.PatientName, dataset.PatientID = f"{CANARY}^NAME", f"{CANARY}ID"
    dataset.PatientBirthDate = f"{CANARY}DATE"  # no date: pydicom warns with the value
    return save(dataset, tmp_path / "waveform.dcm")


def test_a_waveform_is_told_with_its_groups_and_the_picture_that_would_be_judged(
    waveform: Path, tmp_path: Path
) -> None:
    sheet, given = tmp_path / "sheet.png", tmp_path / "given.png"
    found = _found(waveform, tmp_path, "--picture", str(sheet), "--input", str(given))
    facts = found["object"]
    assert (facts["sop_class"], facts["becomes"], facts["refused"]) == ("General ECG Waveform", "waveform", "")
    assert [(group["number"], group["label"]) for group in facts["groups"]] == [(1, "MEDIAN BEAT"), (2, "RHYTHM")]
    rhythm = facts["groups"][1]
    assert (rhythm["rate_hz"], rhythm["samples"], rhythm["sample_format"]) == (500.0, 5000, "16 bit SS")
    assert (rhythm["leads"], rhythm["units"]) == (list(beats()), ["uV"])
    assert found["channels"] == [[2, channel] for channel in range(1, 13)]
    assert [one["refusal"] for one in found["pictures"]] == [""]
    signal = read_ecg(waveform, Limits()).signal
    assert signal is not None
    drawn = draw_standard_sheet(centred(signal)).rgb
    np.testing.assert_array_equal(np.asarray(Image.open(sheet)), drawn)
    seen = np.asarray(Image.open(given))
    np.testing.assert_array_equal(seen, prepare(drawn, *seen.shape[:2]).pixels)


def test_the_page_for_people_holds_no_patient_data_and_leaves_nothing_behind(waveform: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = _inspect(waveform, empty)
    assert done.returncode == 0
    assert "group 2 (judged)" in done.stdout
    assert "would be judged" in done.stdout
    assert CANARY not in done.stdout + done.stderr
    assert list(empty.iterdir()) == []


def test_frames_are_told_one_by_one_with_what_speaks_against_each(tmp_path: Path) -> None:
    format_ = Format("frames", "RGB", 8, 8, frames=2)
    path = save(build_image(format_, np.full((2, 300, 400, 3), 255)), tmp_path / "frames.dcm")
    found = _found(path, tmp_path, "--picture", str(tmp_path / "frame.png"))
    assert [(one["frame"], one["refusal"]) for one in found["pictures"]] == [(1, "blank"), (2, "blank")]
    assert found["written"] == [str(tmp_path / "frame.png"), str(tmp_path / "frame-2.png")]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "pdf"])
def test_a_file_of_another_format_is_told_as_it_would_be_pushed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"page.{suffix}"
    if suffix == "pdf":
        path.write_bytes(build_pdf())
    else:
        Image.new("RGB", (400, 300), "white").save(path)
    found = _found(path, tmp_path)
    assert (found["wrapped"], found["object"]["refused"]) == (True, "")
    assert found["kind"] == ("pdf" if suffix == "pdf" else "image")
    assert len(found["pictures"]) == 1


def test_a_reason_is_given_where_there_is_no_picture(tmp_path: Path) -> None:
    locked = save(encapsulate_pdf(build_pdf(password="secret")), tmp_path / "locked.dcm")
    assert _found(locked, tmp_path)["refusal"].startswith("encrypted: ")
    text = tmp_path / "text.dcm"
    text.write_text("no DICOM")
    found = _found(text, tmp_path)
    assert (found["object"], found["refusal"]) == (None, "damaged: this is no DICOM object")


def test_what_the_listener_would_answer_is_told(tmp_path: Path) -> None:
    grey = Format("grey", "MONOCHROME2", 8, 8)
    dataset = build_image(grey, ecg_like(grey))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ct = save(dataset, tmp_path / "ct.dcm")
    found = _found(ct, tmp_path)
    assert found["object"]["refused"] == "no storage on this context (0x0122)"
    assert found["refusal"] == "not_an_ecg: objects of this class are kept, not judged"
    whole = save(build_image(grey, ecg_like(grey)), tmp_path / "whole.dcm").read_bytes()
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(whole[:-100])
    assert _found(cut, tmp_path)["object"]["refused"] == "data set ends before its lengths say (0xc001)"


def test_a_file_that_is_not_there_is_named_in_one_line(tmp_path: Path) -> None:
    done = _inspect(tmp_path / "away.dcm", tmp_path)
    assert done.returncode == 1
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr
