"""Pictures or a signal out of a received object, or the coded reason why it cannot be judged."""

import struct
import traceback
import zlib
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from core.errors import NotDiagnostic
from core.states import Reason
from dicom_node.contexts import RETIRED_CLASSES
from dicom_node.ecg_object import EcgObject, Kind, Limits
from dicom_node.pdf import read_pages
from dicom_node.pixels import read_frames
from dicom_node.waveform import read_waveform

# Only these are kept in memory: an object of a million private elements costs no more than its reading
_TAGS = [
    *("SOPClassUID", "PixelData", "FloatPixelData", "DoubleFloatPixelData", "WaveformSequence", "EncapsulatedDocument"),
    *("EncapsulatedDocumentLength", "MIMETypeOfEncapsulatedDocument", "PixelAspectRatio", "NumberOfFrames"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "PixelRepresentation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelPaddingValue", "PixelPaddingRangeLimit", "ExtendedOffsetTable"),
    *("ExtendedOffsetTableLengths", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "SharedFunctionalGroupsSequence"),
    *("PerFrameFunctionalGroupsSequence", "RedPaletteColorLookupTableDescriptor"),
    *("GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor"),
    *("RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData"),
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
]

# What pydicom, numpy and the decoders raise on data that lies. Not MemoryError: it may be the process's limit
_DAMAGE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, EOFError, AssertionError),
    *(RuntimeError, InvalidDicomError, struct.error, zlib.error),
)


def read_ecg(path: Path, limits: Limits) -> EcgObject:
    """What there is to judge in the object at `path`. Raises NotDiagnostic; OSError when the file itself is away."""
    try:
        _refuse_deflated(path)
        dataset = pydicom.dcmread(path, specific_tags=_TAGS, force=True)
    except _DAMAGE as error:
        raise _damaged(error) from error
    try:
        return _read(dataset, limits)
    except (*_DAMAGE, OSError) as error:
        raise _damaged(error) from error


def _refuse_deflated(path: Path) -> None:
    """Before anything is inflated: a megabyte of deflated zeros is a gigabyte."""
    try:
        meta = read_file_meta_info(path)
    except InvalidDicomError:
        return  # without a header nothing says deflated
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, "deflated data sets are not read")


def _damaged(error: Exception) -> NotDiagnostic:
    # The message of a foreign exception may hold text of the sender; its type and place do not
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
    return NotDiagnostic(Reason.DAMAGED, f"the object cannot be read ({where})")


def _read(dataset: Dataset, limits: Limits) -> EcgObject:
    if dataset.get("SOPClassUID") in RETIRED_CLASSES:
        raise NotDiagnostic(Reason.RETIRED_CLASS, "objects of this class are kept, not judged")
    if "WaveformSequence" in dataset:
        return read_waveform(dataset, limits)
    if "EncapsulatedDocument" in dataset:
        pages, left_out = read_pages(dataset, limits)
        return EcgObject(Kind.PDF, pages, left_out=left_out)
    if "PixelData" in dataset:
        frames, left_out = read_frames(dataset, limits)
        return EcgObject(Kind.IMAGE, frames, left_out=left_out)
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise NotDiagnostic(Reason.UNSUPPORTED_ENCODING, "floating point pixel data")
    if "SOPClassUID" not in dataset:
        raise NotDiagnostic(Reason.DAMAGED, "this is no DICOM object")
    raise NotDiagnostic(Reason.NO_PICTURE, "neither pixel data, waveform nor document in the object")
