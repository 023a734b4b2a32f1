"""One file looked at as the worker would: the same decoder process, the same preprocessing, the same gate."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import NotDiagnostic, Rejected
from core.settings import Settings
from core.values import Picture
from dicom_node.contexts import need_judged_class
from dicom_node.description import ObjectFacts, describe
from dicom_node.wrap import outgoing_of
from model.card import read_card, shipped_model_dir
from model.config import config_from
from model.preprocessing import prepare
from model.readability import judge_readability
from worker.decoder import Decoder
from worker.decoder_wire import Decoded


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture, what the network would get of it, and why the gate would refuse it (empty: it would be judged)."""

    picture: Picture
    network_input: NDArray[np.uint8]
    quality: float
    refusal: str


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What a file is and what would be judged. `facts` is None without a readable header, `refusal` why no picture."""

    wrapped: bool
    facts: ObjectFacts | None
    decoded: Decoded | None
    refusal: str
    looks: tuple[Look, ...]


def inspect_file(file: Path, settings: Settings) -> Inspection:
    """Look at a DICOM, PNG, JPEG, TIFF or PDF file. Raises Rejected when it cannot be opened."""
    if not file.is_file():
        raise Rejected(f"{file}: no such file")
    with _as_object(file) as (path, wrapped), Decoder(settings) as decoder:
        facts = _facts(path, settings)
        try:
            if facts is not None:
                need_judged_class(facts.sop_class_uid)
            decoded = decoder.pictures_of(path)
        except NotDiagnostic as error:
            return Inspection(wrapped, facts, None, str(error), ())
    height, width = _input_size(settings)
    looks = tuple(_look(picture, height, width) for picture in decoded.pictures)
    return Inspection(wrapped, facts, decoded, "", looks)


@contextmanager
def _as_object(file: Path) -> Iterator[tuple[Path, bool]]:
    """The file itself, or the object that `push` would make of it, in a temporary file of the user's own."""
    try:
        content = outgoing_of(file).content
    except Rejected:
        content = None  # it may be a data set without the header of a file: that is the decoder's to say
    if content is None:
        yield file, False
        return
    descriptor, name = tempfile.mkstemp(suffix=".dcm", prefix="ecg-node-inspect-")
    try:
        with os.fdopen(descriptor, "wb") as target:
            target.write(content)
        yield Path(name), True
    finally:
        Path(name).unlink()


def _facts(path: Path, settings: Settings) -> ObjectFacts | None:
    try:
        return describe(path, settings)
    except NotDiagnostic:
        return None


def _input_size(settings: Settings) -> tuple[int, int]:
    config = config_from(read_card(settings.model_dir or shipped_model_dir()).config)
    return config.height, config.width


def _look(picture: Picture, height: int, width: int) -> Look:
    prepared = prepare(picture.rgb, height, width)
    quality, reason = judge_readability(prepared)
    return Look(picture, prepared.pixels, quality, reason.value if reason else "")
