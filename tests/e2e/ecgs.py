"""ECGs to send: pages as JPEG and PDF that DCMTK makes DICOM, and waveform objects that differ in what a test needs."""

import io
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_node.scu import Outgoing
from model.rendering import draw_sheet
from model.synthetic import LEADS, synthetic_signal
from tests.conftest import need_tool

UV_PER_STEP = 1.25  # of its channels, which are in the order of LEADS
WAVEFORM = Path(str(get_testdata_file("waveform_ecg.dcm")))


def drawn_page() -> Image.Image:
    """A sheet of an infarction, drawn by code: what CI has where the real pages are not."""
    return Image.fromarray(draw_sheet(synthetic_signal(75.0, 0.6, "regular", seed=1)).rgb)


def jpeg_capture(page: Path, folder: Path) -> Path:
    """A JPEG file as Secondary Capture, wrapped by DCMTK."""
    to = folder / "page.dcm"
    identity = ["-k", "PatientName=Page^Of", "-k", "PatientID=P1", "-k", "StudyDescription=12-lead ECG"]
    subprocess.run([need_tool("img2dcm"), *identity, str(page), str(to)], check=True, timeout=60)
    return to


def pdf_object(page: Image.Image, folder: Path) -> Path:
    """A page as Encapsulated PDF, wrapped by DCMTK."""
    document, to = folder / "page.pdf", folder / "pdf.dcm"
    page.convert("RGB").save(document, "PDF", resolution=150)
    subprocess.run([need_tool("pdf2dcm"), "+pn", "Document^Of", "+pi", "P2", str(document), str(to)], check=True)
    return to


def waveform(**attributes: object) -> Outgoing:
    """A cart's 12-lead object as an instance and study of its own, with attributes changed.

    Its samples are made by formulas, so that whatever network is released is sure of its answer.
    """
    ds = dcmread(WAVEFORM)
    group = ds.WaveformSequence[0]
    signal = synthetic_signal(75.0, 0.3, sampling_rate_hz=float(group.SamplingFrequency))
    leads = np.stack([signal.leads[lead] for lead in LEADS], axis=1)
    group.WaveformData = np.round(leads * 1000 / UV_PER_STEP).astype("<i2").tobytes()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return as_outgoing(ds)


def as_outgoing(ds: Dataset) -> Outgoing:
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    meta = ds.file_meta
    return Outgoing(
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        content=file.getvalue(),
    )


def storescu(file: Path, port: int, *options: str) -> None:
    """DCMTK sends a file; fails unless it was taken."""
    command = [need_tool("storescu"), *options, "-aet", "CART", "-aec", "ECGNODE", "127.0.0.1", str(port), str(file)]
    subprocess.run(command, check=True, timeout=60)
