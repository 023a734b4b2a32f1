"""A stored result in another transfer syntax, without loss and with every text's bytes as they are."""

from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.pixels import get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from core.destinations import Destination
from dicom_node.copying import keep_bytes

PLAIN = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
# What a destination's `transfer_syntax` asks for, in the order of preference
OFFERED: dict[str, tuple[str, ...]] = {
    "uncompressed": PLAIN,
    "explicit": PLAIN[:1],
    "implicit": PLAIN[1:],
    "rle": (str(RLELossless), *PLAIN),
    "jpegls": (str(JPEGLSLossless), *PLAIN),
    "jpeg2000": (str(JPEG2000Lossless), *PLAIN),
}


def offered_syntaxes(destination: Destination, stored: str, has_pixels: bool) -> tuple[str, ...]:
    """Transfer syntaxes to offer for a stored object, the best first; what came compressed is sent as it came."""
    if UID(stored).is_compressed:
        return (stored,)
    wanted = OFFERED[destination.transfer_syntax]
    return wanted if has_pixels else tuple(one for one in wanted if one in PLAIN)


def missing_encoder(destination: Destination) -> str:
    """The transfer syntax that this installation cannot write; empty when it can write all that it has to offer."""
    for syntax in OFFERED[destination.transfer_syntax]:
        if UID(syntax).is_compressed and not get_encoder(UID(syntax)).is_available:
            return UID(syntax).name
    return ""


def transcoded(path: Path, transfer_syntax: str) -> FileDataset:
    """The object at `path`, encoded anew; the same input gives the same bytes."""
    dataset = dcmread(path)
    if UID(transfer_syntax).is_compressed:
        dataset.compress(transfer_syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    keep_bytes(dataset, implicit_vr=transfer_syntax == str(ImplicitVRLittleEndian))
    return dataset
