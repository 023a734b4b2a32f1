"""What an object is, told from its header without a database: for people who wonder what the node makes of a file."""

from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.dsutils import split_dataset

from core.errors import NotDiagnostic
from core.settings import Settings
from core.states import Reason
from dicom_node.contexts import STORAGE_CLASSES, kind_of, transfer_syntaxes_of
from dicom_node.intake import Incoming, Refused, check
from dicom_node.leads import lead_of

_BULK_BYTES = 65536
# None of these names a patient
_DEVICE = ("Modality", "Manufacturer", "ManufacturerModelName", "SpecificCharacterSet", "BurnedInAnnotation")
_PIXELS = (
    *("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
_DOCUMENT = ("MIMETypeOfEncapsulatedDocument", "EncapsulatedDocumentLength")
_DAMAGE = (InvalidDicomError, OSError, EOFError, AttributeError, ValueError, KeyError, TypeError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """One multiplex group of a waveform; `leads` names the standard lead of each channel, or what it is called."""

    number: int
    label: str
    originality: str
    samples: int
    rate_hz: float
    sample_format: str
    leads: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.samples / self.rate_hz if self.rate_hz else 0.0


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """An object in words. `refused` is why the listener would not take it, empty when it would."""

    sop_class_uid: str
    sop_class: str
    sop_instance_uid: str
    becomes: str
    transfer_syntax_uid: str
    transfer_syntax: str
    size_bytes: int
    refused: str
    header: tuple[tuple[str, str], ...]
    groups: tuple[GroupFacts, ...]


def describe(path: Path, settings: Settings) -> ObjectFacts:
    """What the object at `path` is. Holds no patient data. Raises NotDiagnostic when it has no header to read."""
    try:
        dataset = dcmread(path, stop_before_pixels=True, defer_size=_BULK_BYTES, force=True)
        return _facts(path, dataset, settings)
    except _DAMAGE as error:
        raise NotDiagnostic(Reason.DAMAGED, "its header cannot be read") from error


def _facts(path: Path, dataset: Dataset, settings: Settings) -> ObjectFacts:
    class_uid = str(dataset.get("SOPClassUID") or "")
    if not class_uid:
        raise NotDiagnostic(Reason.DAMAGED, "this is no DICOM object")
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian))
    kind = kind_of(class_uid)
    known = STORAGE_CLASSES.get(class_uid)
    return ObjectFacts(
        sop_class_uid=class_uid,
        sop_class=known[0] if known else UID(class_uid).name,
        sop_instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        becomes=kind.value if kind else "kept only",
        transfer_syntax_uid=str(syntax),
        transfer_syntax=syntax.name,
        size_bytes=path.stat().st_size,
        refused=_refusal(path, dataset, str(syntax), settings),
        header=_header(dataset),
        groups=tuple(_group(item, n) for n, item in enumerate(dataset.get("WaveformSequence") or [], start=1)),
    )


def _refusal(path: Path, dataset: Dataset, syntax: str, settings: Settings) -> str:
    """What the listener would answer to this very data set."""
    class_uid = str(dataset.SOPClassUID)
    _, offset = split_dataset(path)
    incoming = Incoming(
        sop_class_uid=class_uid,
        sop_instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        context_class_uid=class_uid,
        transfer_syntax_uid=syntax,
        data_set=path.read_bytes()[offset:],
        high_priority=False,
        calling_ae_title="",
        called_ae_title="",
        peer_address="",
        association_id="",
    )
    try:
        check(incoming, settings)
    except Refused as refused:
        return f"{refused.because.value} ({refused.status:#06x})"
    if syntax not in transfer_syntaxes_of(class_uid):
        return "transfer syntax is not accepted for this class"
    return ""


def _header(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    found = [(keyword, dataset.get(keyword)) for keyword in (*_DEVICE, *_PIXELS, *_DOCUMENT)]
    return tuple((keyword, str(value)) for keyword, value in found if value not in (None, ""))


def _group(item: Dataset, number: int) -> GroupFacts:
    channels = list(item.get("ChannelDefinitionSequence") or [])
    bits, kind = item.get("WaveformBitsAllocated") or "?", item.get("WaveformSampleInterpretation") or "?"
    return GroupFacts(
        number=number,
        label=str(item.get("MultiplexGroupLabel") or ""),
        originality=str(item.get("WaveformOriginality") or ""),
        samples=int(item.get("NumberOfWaveformSamples") or 0),
        rate_hz=float(item.get("SamplingFrequency") or 0),
        sample_format=f"{bits} bit {kind}",
        leads=tuple(_lead(channel) for channel in channels),
        units=tuple(dict.fromkeys(_unit(channel) for channel in channels)),
    )


def _lead(channel: Dataset) -> str:
    lead = lead_of(channel)
    if lead:
        return lead
    source = (channel.get("ChannelSourceSequence") or [Dataset()])[0]
    return f"({source.get('CodeMeaning') or source.get('CodeValue') or channel.get('ChannelLabel') or 'unnamed'})"


def _unit(channel: Dataset) -> str:
    units = channel.get("ChannelSensitivityUnitsSequence") or [Dataset()]
    return str(units[0].get("CodeValue") or "not said")
