"""Files of other formats as correct DICOM objects: JPEG, PNG and TIFF as Secondary Capture, PDF as Encapsulated PDF."""

import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid
from pynetdicom.dsutils import split_dataset

from core.errors import Rejected
from dicom_node.scu import Outgoing
from dicom_node.spool import PREAMBLE, file_meta

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_COLOUR = "1.2.840.10008.5.1.4.1.1.7.4"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_PDF_MARK = b"%PDF-"
_JPEG_MARK = b"\xff\xd8"
_ORIENTATION = 0x0112  # Exif
_JPEG_GREY_OR_YCBCR = {"L", "RGB"}  # Pillow's names for JPEG files of one and of three components


def outgoing_of(file: Path, *, patient_id: str = "", patient_name: str = "") -> Outgoing:
    """A DICOM file as it is, or a new object around another file. Raises Rejected when it is neither."""
    try:
        header = dcmread(file, stop_before_pixels=True)
        return _as_it_is(file, header)
    except InvalidDicomError:
        return _outgoing(wrap(file.read_bytes(), file.name, patient_id=patient_id, patient_name=patient_name))
    except OSError as error:
        raise Rejected(f"{file}: {error.strerror}") from error
    except AttributeError as error:
        raise Rejected(f"{file}: a DICOM file without SOP class, SOP instance UID or transfer syntax") from error


def _as_it_is(file: Path, header: Dataset) -> Outgoing:
    """A DICOM file, under a new file meta where the old one names another object than the data set."""
    meta = header.file_meta
    uids = str(header.SOPClassUID), str(header.SOPInstanceUID), str(meta.TransferSyntaxUID)
    if (meta.get("MediaStorageSOPClassUID"), meta.get("MediaStorageSOPInstanceUID")) == uids[:2]:
        return Outgoing(*uids, path=file)
    _, offset = split_dataset(file)
    return Outgoing(*uids, content=PREAMBLE + file_meta(*uids) + file.read_bytes()[offset:])


def wrap(content: bytes, name: str, *, patient_id: str = "", patient_name: str = "") -> Dataset:
    """A DICOM object around a PDF, JPEG, PNG or TIFF file. Raises Rejected for anything else."""
    ds = _patient_and_study(patient_id, patient_name)
    if content.startswith(_PDF_MARK):
        _add_pdf(ds, content)
        return ds
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
        _add_capture(ds)
        if content.startswith(_JPEG_MARK) and _is_plain_jpeg(picture):
            _add_jpeg(ds, content, picture)
        else:
            _add_plain(ds, [_upright(page) for page in ImageSequence.Iterator(picture)])
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise Rejected(f"{name}: neither DICOM nor PDF, JPEG, PNG or TIFF") from error
    return ds


def _is_plain_jpeg(picture: Image.Image) -> bool:
    """Whether the stream itself may become a frame: baseline, grey or YCbCr, as it is to be looked at."""
    odd = picture.info.get("progressive") or picture.info.get("adobe_transform") == 0
    turned = picture.getexif().get(_ORIENTATION, 1) != 1
    return picture.mode in _JPEG_GREY_OR_YCBCR and not odd and not turned


def _upright(page: Image.Image) -> Image.Image:
    """A page in colour as a viewer shows it: turned as its camera said, on white where it is transparent."""
    page = ImageOps.exif_transpose(page)
    if page.mode.startswith(("I", "F")):
        low, high = page.getextrema()
        values = np.asarray(page, np.float64)
        top = 65535.0 if page.mode.startswith("I;16") else max(float(high), float(low) + 1.0)
        bottom = 0.0 if low >= 0 else float(low)
        return Image.fromarray(np.rint((values - bottom) / (top - bottom) * 255).astype(np.uint8)).convert("RGB")
    if page.has_transparency_data:
        page = page.convert("RGBA")
        white = Image.new("RGBA", page.size, "white")
        return Image.alpha_composite(white, page).convert("RGB")
    return page.convert("RGB")


def _patient_and_study(patient_id: str, patient_name: str) -> Dataset:
    now = datetime.now().astimezone()
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = patient_name, patient_id, "", ""
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.SOPInstanceUID = generate_uid()
    ds.StudyDate = ds.ContentDate = now.strftime("%Y%m%d")
    ds.StudyTime = ds.ContentTime = now.strftime("%H%M%S")
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "", 1, 1
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.Manufacturer = "", "", ""
    ds.StudyDescription = "12-lead ECG"
    ds.ConversionType = "SD"
    # Nobody has looked whether a name stands in the picture
    ds.BurnedInAnnotation = "YES"
    return ds


def _finish(ds: Dataset, sop_class_uid: str, transfer_syntax_uid: str) -> None:
    ds.SOPClassUID = sop_class_uid
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = sop_class_uid
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = transfer_syntax_uid


def _add_pdf(ds: Dataset, content: bytes) -> None:
    ds.Modality, ds.SeriesDescription, ds.DocumentTitle = "DOC", "ECG report", "ECG"
    ds.AcquisitionDateTime, ds.ConceptNameCodeSequence = "", []
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    ds.EncapsulatedDocumentLength = len(content)
    _finish(ds, ENCAPSULATED_PDF, ExplicitVRLittleEndian)


def _add_capture(ds: Dataset) -> None:
    ds.Modality, ds.SeriesDescription, ds.BodyPartExamined = "OT", "12-lead ECG", "HEART"
    ds.ImageType, ds.PatientOrientation = ["ORIGINAL", "PRIMARY"], ""
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0


def _add_jpeg(ds: Dataset, content: bytes, picture: Image.Image) -> None:
    """The JPEG stream itself becomes the only frame: nothing is lost once more."""
    colour = picture.mode == "RGB"
    ds.Rows, ds.Columns = picture.height, picture.width
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "YBR_FULL_422" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    raw = picture.width * picture.height * ds.SamplesPerPixel
    ds.LossyImageCompressionRatio = round(raw / len(content), 2)
    ds.PixelData = encapsulate([content])
    ds["PixelData"].is_undefined_length = True
    _finish(ds, SECONDARY_CAPTURE, JPEGBaseline8Bit)


def _add_plain(ds: Dataset, pages: Sequence[Image.Image]) -> None:
    """One picture, or the pages of a TIFF as frames of one size, smaller ones on white."""
    width, height = max(page.width for page in pages), max(page.height for page in pages)
    pixels = b"".join(_on_white(page, width, height).tobytes() for page in pages)
    ds.Rows, ds.Columns = height, width
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.PixelData = pixels + b"\0" * (len(pixels) % 2)
    if len(pages) > 1:
        _add_frames(ds, len(pages))
    _finish(ds, SECONDARY_CAPTURE if len(pages) == 1 else MULTI_FRAME_COLOUR, ExplicitVRLittleEndian)


def _on_white(page: Image.Image, width: int, height: int) -> Image.Image:
    if page.size == (width, height):
        return page
    white = Image.new("RGB", (width, height), "white")
    white.paste(page, (0, 0))
    return white


def _add_frames(ds: Dataset, count: int) -> None:
    """Pages as frames. PS3.3 C.8.6.3."""
    ds.NumberOfFrames = count
    ds.PageNumberVector = list(range(1, count + 1))
    ds.FrameIncrementPointer = tag_for_keyword("PageNumberVector")


def _outgoing(ds: Dataset) -> Outgoing:
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return Outgoing(
        str(ds.SOPClassUID),
        str(ds.SOPInstanceUID),
        str(ds.file_meta.TransferSyntaxUID),
        content=file.getvalue(),
    )
