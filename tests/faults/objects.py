"""Small ECG objects for the fault tests, each with the canary as its patient's name."""

import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_node.scu import Outgoing
from dicom_node.spool import data_set_of
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal

# Must never be seen outside received files, results and the database
CANARY = "ZZCANARY"


def ecg_object(number: int = 0, *, like: Outgoing | None = None, **values: object) -> Outgoing:
    """A waveform ECG of 10 s of a new instance; `like` gives its UIDs, `values` are elements by keyword."""
    dataset = _waveform()
    dataset.PatientName = f"{CANARY}^Patient {number}"
    dataset.PatientID = f"{CANARY}-{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = like.sop_instance_uid if like else generate_uid()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return _outgoing(dataset)


def ecg_sheet(number: int = 0, corner: int | None = None) -> Outgoing:
    """A drawn 12-lead sheet as a grey picture; `corner` is the value of its first pixels."""
    rgb = draw_sheet(synthetic_signal(55 + 20 * number % 90, seed=number)).rgb
    grey = np.ascontiguousarray(rgb[:, :, 1])
    if corner is not None:
        grey[:9, :9] = corner
    dataset = _picture(number, None)
    dataset.Rows, dataset.Columns = grey.shape
    dataset.PixelData = grey.tobytes() + b"\0" * (grey.size % 2)
    return _outgoing(dataset)


def small_object(
    number: int = 0, *, like: Outgoing | None = None, pixels: int = 8, rows: int | None = None
) -> Outgoing:
    """The smallest picture that is accepted: it ends as not diagnostic; `rows` is what its header claims."""
    dataset = _picture(number, like)
    dataset.Rows, dataset.Columns = rows or pixels, pixels
    dataset.PixelData = bytes((number + n) % 256 for n in range(pixels * pixels))
    return _outgoing(dataset)


def _picture(number: int, like: Outgoing | None) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = like.sop_instance_uid if like else generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName, dataset.PatientID = f"{CANARY}^Patient {number}", f"{CANARY}-{number}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.StudyID, dataset.Modality = "", "", "", "OT"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20250101", "120000", f"A{number}"
    dataset.ReferringPhysicianName, dataset.ConversionType = "", "WSD"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    return dataset


def data_set_bytes(one: Outgoing) -> bytes:
    """The data set as it goes over the network."""
    return data_set_of(one.path.read_bytes() if one.path else one.content or b"")


def write(one: Outgoing, folder: Path) -> Outgoing:
    """The same object as a file, for programs that send files."""
    path = folder / f"{one.sop_instance_uid}.dcm"
    path.write_bytes(one.content or b"")
    return replace(one, path=path, content=None)


@cache
def _waveform_bytes() -> bytes:
    return Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()


def _waveform() -> Dataset:
    return dcmread(io.BytesIO(_waveform_bytes()))


def _outgoing(dataset: Dataset) -> Outgoing:
    file = io.BytesIO()
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OB"
    if not hasattr(dataset, "file_meta"):
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(file, enforce_file_format=True)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    return Outgoing(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), syntax, content=file.getvalue())
