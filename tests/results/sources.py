"""Made-up objects of every kind that ECGs come in, with headers that are full, bare, or wrong as real ones are."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from core.states import Reason
from core.values import Box, Judgement, Label, LeadBox, ModelIdentity, Picture, Signal
from dicom_node.headers import SourceHeader, read_source
from dicom_node.objects import FrameFinding, ReportContext
from dicom_node.uids import derived_uid
from model.rendering import SheetStyle, draw_sheet
from tests.intake.image_objects import put_pixels
from tests.intake.pdf_objects import build_pdf, encapsulate_pdf
from tests.intake.waveform_objects import GENERAL_ECG, Group, beats, build_waveform

MODEL = ModelIdentity(
    "resnet50-ecg", "1.2.3", "f" * 64, "7", "3", 224, 320, "class activation map", {"myocardial_infarction": 0.31}
)
TWELVE_LEAD = "1.2.840.10008.5.1.4.1.1.9.1.1"
AMBULATORY_ECG = "1.2.840.10008.5.1.4.1.1.9.1.3"
OF_TWO_FRAMES = ("mfsc", "pdf2")
WHEN = datetime(2026, 1, 5, 10, 20, tzinfo=UTC)


def context(**changes: object) -> ReportContext:
    given: dict[str, object] = {
        "installation": "test",
        "ae_title": "ECGNODE",
        "software_version": "0.1.0",
        "content_sha256": "c" * 64,
        "when": WHEN,
    }
    return ReportContext(**(given | changes))  # type: ignore[arg-type]


@cache
def sheet(px_per_mm: float = 5.0) -> Picture:
    """An ECG drawn by code, with its leads' places."""
    signal = Signal({lead: values.astype(np.float32) for lead, values in beats().items()}, 500.0)
    return draw_sheet(signal, SheetStyle(px_per_mm=px_per_mm))


@cache
def heat() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A map with one hot and one warm place, over V1 to V3 and V4."""
    y, x = np.mgrid[0:90, 0:160] / np.array([90, 160]).reshape(2, 1, 1)
    hot = np.exp(-(((y - 0.35) / 0.18) ** 2) - ((x - 0.6) / 0.08) ** 2)
    warm = 0.5 * np.exp(-(((y - 0.2) / 0.1) ** 2) - ((x - 0.85) / 0.08) ** 2)
    return (hot + warm).astype(np.float32) / np.float32((hot + warm).max())


_SHARES = {
    Label.NORMAL: (0.912, 0.058, 0.030),
    Label.ABNORMAL_HEARTBEAT: (0.197, 0.702, 0.101),
    Label.MYOCARDIAL_INFARCTION: (0.031, 0.094, 0.875),
}


def judgement(label: Label | None = Label.MYOCARDIAL_INFARCTION, reason: Reason = Reason.UNCERTAIN) -> Judgement:
    area = Box(0.02, 0.03, 0.98, 0.97)
    if label is None:
        shares = (0.34, 0.33, 0.33) if reason is Reason.UNCERTAIN else None
        return Judgement(None, reason, shares, None, area, 0.4)
    return Judgement(label, None, _SHARES[label], heat(), area, 0.97)


# --- Sources: minimal, as a cart would send them, with deterministic UIDs


def _capture(modality: str = "OT") -> Dataset:
    dataset = Dataset()
    dataset.Modality, dataset.ConversionType = modality, "WSD"
    dataset.ImageType, dataset.PatientOrientation, dataset.BurnedInAnnotation = ["ORIGINAL", "PRIMARY"], "", "YES"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    return dataset


def _pixels(frames: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.stack([sheet(1.0).rgb.astype(np.int64)] * frames)


def secondary_capture() -> Dataset:
    dataset, values = _capture(), _pixels()
    dataset.SOPClassUID, dataset.Rows, dataset.Columns = "1.2.840.10008.5.1.4.1.1.7", *values.shape[1:3]
    put_pixels(dataset, values)
    return dataset


def multi_frame_capture() -> Dataset:
    dataset, values = _capture(), _pixels(2)
    dataset.SOPClassUID, dataset.Rows, dataset.Columns = "1.2.840.10008.5.1.4.1.1.7.4", *values.shape[1:3]
    dataset.NumberOfFrames, dataset.FrameIncrementPointer = 2, 0x00181065
    dataset.FrameTimeVector = [0, 1000]
    put_pixels(dataset, values)
    return dataset


def photograph() -> Dataset:
    dataset, file = _capture("XC"), io.BytesIO()
    del dataset.ConversionType
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.4"
    Image.fromarray(sheet(1.0).rgb).save(file, "JPEG")
    dataset.Rows, dataset.Columns = sheet(1.0).rgb.shape[:2]
    dataset.PhotometricInterpretation, dataset.AcquisitionContextSequence = "YBR_FULL_422", []
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    dataset.LossyImageCompressionRatio = "12.3"
    dataset.PixelData = encapsulate([file.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    return dataset


def pdf() -> Dataset:
    dataset = encapsulate_pdf(build_pdf())
    dataset.Modality, dataset.ConversionType, dataset.DocumentTitle = "DOC", "WSD", "ECG"
    dataset.BurnedInAnnotation, dataset.AcquisitionDateTime, dataset.ConceptNameCodeSequence = "YES", "", []
    return dataset


def pdf_of_two_pages() -> Dataset:
    dataset = pdf()
    dataset.EncapsulatedDocument = build_pdf(["10 10 50 20 re f"] * 2)
    return dataset


def twelve_lead() -> Dataset:
    return build_waveform(Group(beats(10.0, 250.0), rate=250.0), sop_class=TWELVE_LEAD)


def general_waveform() -> Dataset:
    return build_waveform(Group(beats(5.0, 250.0, ("I", "II", "V5")), rate=250.0), sop_class=GENERAL_ECG)


def holter() -> Dataset:
    return build_waveform(Group(beats(5.0, 250.0, ("I", "II", "V5")), rate=250.0), sop_class=AMBULATORY_ECG)


SOURCES: Mapping[str, Callable[[], Dataset]] = {
    "sc": secondary_capture,
    "mfsc": multi_frame_capture,
    "photo": photograph,
    "pdf": pdf,
    "pdf2": pdf_of_two_pages,
    "12lead": twelve_lead,
    "general": general_waveform,
    "holter": holter,
}

# --- Names: the character set and the bytes of a name in it

NAMES: Mapping[str, tuple[list[str], bytes]] = {
    "plain": ([], b"Muster^Erika"),
    "anonymised": ([], b""),
    "japanese": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
}


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def add_full(dataset: Dataset) -> None:
    """Everything that may be copied, well-formed."""
    dataset.IssuerOfPatientID, dataset.PatientBirthTime, dataset.TypeOfPatientID = "HOSPITAL", "0815", "TEXT"
    dataset.OtherPatientIDsSequence = [_item(PatientID="OLD-7", IssuerOfPatientID="CLINIC", TypeOfPatientID="TEXT")]
    dataset.IssuerOfPatientIDQualifiersSequence = [_item(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")]
    dataset.EthnicGroup, dataset.PatientComments, dataset.QualityControlSubject = "UNKNOWN", "seen twice", "NO"
    dataset.PatientAge, dataset.PatientSize, dataset.PatientWeight = "061Y", "1.75", "72.5"
    dataset.PatientIdentityRemoved, dataset.LongitudinalTemporalInformationModified = "NO", "UNMODIFIED"
    dataset.ClinicalTrialSponsorName, dataset.ClinicalTrialProtocolID = "Sponsor", "P1"
    dataset.ClinicalTrialProtocolName, dataset.ClinicalTrialSiteID, dataset.ClinicalTrialSiteName = (
        "Trial",
        "S1",
        "Site",
    )
    dataset.ClinicalTrialSubjectID = "SUBJECT-9"
    dataset.StudyDescription, dataset.PhysiciansOfRecord = "12-lead ECG at rest", "Record^Doctor"
    dataset.NameOfPhysiciansReadingStudy, dataset.ConsultingPhysicianName = "Read^Doctor", "Consult^Doctor"
    dataset.ProcedureCodeSequence = [_code("268400002", "SCT", "12-Lead ECG")]
    dataset.ReferencedStudySequence = [
        _item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.2.826.0.1.5")
    ]
    dataset.AdmissionID, dataset.AdmittingDiagnosesDescription = "ADM-3", "Chest pain"
    dataset.IssuerOfAccessionNumberSequence = [_item(LocalNamespaceEntityID="RIS")]
    dataset.InstitutionName = "General Hospital"
    dataset.RequestAttributesSequence = [
        _item(
            AccessionNumber="ACC-1",
            RequestedProcedureID=f"RP-{number}",
            RequestedProcedureDescription="Resting ECG",
            RequestedProcedureCodeSequence=[_code("268400002", "SCT", "12-Lead ECG")],
            ScheduledProcedureStepID=f"SPS-{number}",
            ScheduledProcedureStepDescription="12 leads",
            PlacerOrderNumberImagingServiceRequest=f"PL-{number}",
            FillerOrderNumberImagingServiceRequest=f"FI-{number}",
        )
        for number in (1, 2)
    ]


def add_malformed(dataset: Dataset) -> None:
    """What carts, bridges and anonymisers really send in attributes that are optional."""
    long = "x" * 90
    dataset.PatientBirthTime, dataset.TypeOfPatientID = "noon", "mrn"
    dataset.OtherPatientIDsSequence = []
    dataset.IssuerOfPatientIDQualifiersSequence = [Dataset()]
    dataset.EthnicGroup, dataset.PatientComments, dataset.QualityControlSubject = "c" * 40, "", "N"
    put_raw(dataset, "PatientAge", "AS", b"61")
    put_raw(dataset, "PatientSize", "DS", b"1,75")
    put_raw(dataset, "PatientWeight", "DS", b"72 kg ")
    dataset.PatientIdentityRemoved, dataset.LongitudinalTemporalInformationModified = "yes", "NO"
    dataset.DeidentificationMethod = long
    dataset.ClinicalTrialSiteID = "S1"
    dataset.StudyDescription, dataset.PhysiciansOfRecord = f"Ruhe-EKG {long}", "a^b^c^d^e^f^g"
    dataset.ProcedureCodeSequence = [_item(CodeMeaning="12-Lead ECG")]
    dataset.ReferencedStudySequence = [Dataset()]
    dataset.AdmissionID, dataset.AdmittingDiagnosesDescription = long, "a\nb"
    dataset.IssuerOfAccessionNumberSequence = [Dataset()]
    dataset.InstitutionName = long
    dataset.RequestAttributesSequence = [
        Dataset(),
        _item(RequestedProcedureID="R" * 30, RequestedProcedureCodeSequence=[Dataset()], AccessionNumber="A" * 30),
    ]
    if "PixelData" in dataset:
        dataset.BurnedInAnnotation, dataset.LossyImageCompression = "MAYBE", "01"
        put_raw(dataset, "LossyImageCompressionRatio", "DS", b"10:1")
        dataset.LossyImageCompressionMethod = "jpeg lossy"


def put_raw(dataset: Dataset, keyword: str, vr: str, value: bytes) -> None:
    """An element with these bytes, whatever they mean."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    padded = value + b" " * (len(value) % 2)
    dataset[tag] = RawDataElement(tag, vr, len(padded), padded, 0, False, True)


OPTIONAL: Mapping[str, Callable[[Dataset], None]] = {
    "bare": lambda _dataset: None,
    "full": add_full,
    "malformed": add_malformed,
}


def build_source(kind: str, name: str = "plain", optional: str = "bare") -> Dataset:
    """A source with this header; its UIDs follow from the three words."""
    with _unchecked():
        dataset = SOURCES[kind]()
        charset, raw_name = NAMES[name]
        if charset:
            dataset.SpecificCharacterSet = charset
        _add_identity(dataset, kind, name, optional)
        put_raw(dataset, "PatientName", "PN", raw_name)
        OPTIONAL[optional](dataset)
    return dataset


@contextmanager
def _unchecked() -> Iterator[None]:
    """Lets wrong values through, as senders do."""
    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.writing_validation_mode = before


def _add_identity(dataset: Dataset, *words: str) -> None:
    for level in ("Study", "Series", "SOP"):
        setattr(dataset, f"{level}InstanceUID", derived_uid(level, *words))
    anonymised = "anonymised" in words
    dataset.PatientID = "" if anonymised else "PID-4711"
    if "bare" not in words or "sc" in words:
        dataset.PatientBirthDate, dataset.PatientSex = "" if anonymised else "19501231", "" if anonymised else "F"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260105", "101500", "1"
        dataset.AccessionNumber, dataset.ReferringPhysicianName = "ACC-1", "Refer^Doctor"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1


def save_source(dataset: Dataset, folder: Path) -> SourceHeader:
    """Save as a kept file and read its header back, as the worker does."""
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    write_file(dataset, path)
    return read_source(path)


def write_file(dataset: Dataset, path: Path, transfer_syntax: str = "") -> Path:
    """Save as a Part 10 file; native ones in explicit little endian unless said otherwise."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    compressed = dataset.get("PhotometricInterpretation") == "YBR_FULL_422"
    meta.TransferSyntaxUID = transfer_syntax or (JPEGBaseline8Bit if compressed else ExplicitVRLittleEndian)
    dataset.file_meta = meta
    with _unchecked():
        dataset.save_as(path, enforce_file_format=True)
    return path


def findings(kind: str, label: Label | None, reason: Reason = Reason.UNCERTAIN) -> list[FrameFinding]:
    frames: list[int | None] = [1, 2] if kind in OF_TWO_FRAMES else [None]
    return [FrameFinding(frame, judgement(label, reason)) for frame in frames]


def pictures(kind: str, px_per_mm: float = 1.0) -> list[Picture]:
    """What the decoder would have made of it; leads are known where a signal was drawn."""
    drawn = sheet(px_per_mm)
    leads: tuple[LeadBox, ...] = drawn.leads if kind in ("12lead", "general", "holter") else ()
    return [Picture(drawn.rgb, frame, leads) for frame in ([1, 2] if kind in OF_TWO_FRAMES else [None])]
