"""What the node accepts: SOP classes with what they become, and transfer syntaxes. The one table of both."""

from enum import StrEnum

from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification, register_uid

from core.errors import NotDiagnostic
from core.settings import Settings
from core.states import Reason


class ObjectKind(StrEnum):
    """What the objects of a SOP class become."""

    IMAGE = "image"
    PDF = "pdf"
    WAVEFORM = "waveform"
    RETIRED = "retired"


# PS3.4 Table B.5-1 and, for the retired ones, PS3.6 Table A-1
STORAGE_CLASSES: dict[str, tuple[str, ObjectKind]] = {
    "1.2.840.10008.5.1.4.1.1.7": ("Secondary Capture Image", ObjectKind.IMAGE),
    "1.2.840.10008.5.1.4.1.1.7.1": ("Multi-frame Single Bit Secondary Capture Image", ObjectKind.IMAGE),
    "1.2.840.10008.5.1.4.1.1.7.2": ("Multi-frame Grayscale Byte Secondary Capture Image", ObjectKind.IMAGE),
    "1.2.840.10008.5.1.4.1.1.7.3": ("Multi-frame Grayscale Word Secondary Capture Image", ObjectKind.IMAGE),
    "1.2.840.10008.5.1.4.1.1.7.4": ("Multi-frame True Color Secondary Capture Image", ObjectKind.IMAGE),
    "1.2.840.10008.5.1.4.1.1.77.1.4": ("VL Photographic Image", ObjectKind.IMAGE),
    "1.2.840.10008.5.1.4.1.1.104.1": ("Encapsulated PDF", ObjectKind.PDF),
    "1.2.840.10008.5.1.4.1.1.9.1.1": ("12-lead ECG Waveform", ObjectKind.WAVEFORM),
    "1.2.840.10008.5.1.4.1.1.9.1.2": ("General ECG Waveform", ObjectKind.WAVEFORM),
    "1.2.840.10008.5.1.4.1.1.9.1.3": ("Ambulatory ECG Waveform", ObjectKind.WAVEFORM),
    "1.2.840.10008.5.1.4.1.1.9.2.1": ("Hemodynamic Waveform", ObjectKind.WAVEFORM),
    "1.2.840.10008.5.1.4.1.1.77.1": ("VL Image (retired)", ObjectKind.RETIRED),
    "1.2.840.10008.5.1.4.1.1.9.1": ("Waveform Storage - Trial (retired)", ObjectKind.RETIRED),
    "1.2.840.10008.5.1.4.1.1.9": ("Standalone Curve (retired)", ObjectKind.RETIRED),
}
RETIRED_CLASSES = frozenset(uid for uid, (_name, kind) in STORAGE_CLASSES.items() if kind is ObjectKind.RETIRED)

UNCOMPRESSED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian))
# Deflated is not offered: one megabyte of it can become gigabytes of memory
COMPRESSED = tuple(
    str(uid)
    for uid in (
        JPEGBaseline8Bit,
        JPEGExtended12Bit,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEGLSNearLossless,
        JPEG2000Lossless,
        JPEG2000,
        RLELossless,
    )
)


def transfer_syntaxes_of(sop_class_uid: str) -> tuple[str, ...]:
    """Transfer syntaxes accepted for a class; only what may hold pixels comes compressed."""
    kind = kind_of(sop_class_uid)
    return UNCOMPRESSED if kind in (ObjectKind.PDF, ObjectKind.WAVEFORM) else UNCOMPRESSED + COMPRESSED


def kind_of(sop_class_uid: str) -> ObjectKind | None:
    """What objects of a class become; None for a class that a site added to be kept only."""
    known = STORAGE_CLASSES.get(sop_class_uid)
    return known[1] if known else None


def need_judged_class(sop_class_uid: str) -> None:
    """Raise NotDiagnostic for a class whose objects are kept and never judged."""
    if sop_class_uid in RETIRED_CLASSES:
        raise NotDiagnostic(Reason.RETIRED_CLASS, "objects of this class are kept, not judged")
    if sop_class_uid not in STORAGE_CLASSES:
        raise NotDiagnostic(Reason.NOT_AN_ECG, "objects of this class are kept, not judged")


def storage_classes(settings: Settings) -> tuple[str, ...]:
    """Every storage class that this installation accepts."""
    return (*STORAGE_CLASSES, *settings.more_storage_classes)


def accepted_contexts(settings: Settings) -> list[PresentationContext]:
    """The presentation contexts that the listener accepts."""
    plain = [str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)]
    contexts = [build_context(Verification, plain), _commitment_context(plain)]
    for uid in storage_classes(settings):
        if uid in RETIRED_CLASSES or uid in settings.more_storage_classes:
            register_uid(uid, f"EcgNodeStorage{uid.replace('.', '_')}", StorageServiceClass)
        contexts.append(build_context(uid, list(transfer_syntaxes_of(uid))))
    return contexts


def _commitment_context(transfer_syntaxes: list[str]) -> PresentationContext:
    """Callers ask for commitment in the SCU's role; a PACS that brings an answer may negotiate the SCP's. PS3.4 J."""
    context = build_context(StorageCommitmentPushModel, transfer_syntaxes)
    context.scu_role, context.scp_role = True, True
    return context
