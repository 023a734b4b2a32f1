"""Small frozen values that cross the borders between packages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from core.states import JobState, Reason


class Label(StrEnum):
    """A finding that the network knows, in the order of its outputs."""

    NORMAL = "normal"
    ABNORMAL_HEARTBEAT = "abnormal_heartbeat"
    MYOCARDIAL_INFARCTION = "myocardial_infarction"


LABELS: tuple[Label, ...] = tuple(Label)
NOTICE = "Result of an artificial intelligence algorithm. Not verified by a physician. Not for primary diagnosis."


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in fractions of a picture's width and height, 0 to 1, origin at the top left."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class LeadBox:
    """Where a lead stands in a picture whose layout is known."""

    lead: str
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """An ECG as voltages: lead name (I, II, III, aVR, aVL, aVF, V1-V6) to millivolts, float32, all of one length."""

    leads: Mapping[str, NDArray[np.float32]]
    sampling_rate_hz: float


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture of an ECG: `rgb` is uint8 (height, width, 3); `frame` counts from 1 where the source has several."""

    rgb: NDArray[np.uint8]
    frame: int | None = None
    leads: tuple[LeadBox, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What the network says about one picture.

    `label` is None exactly when `reason` is given. `probabilities` follow `LABELS` and sum to 1; they are None when a
    gate refused the picture before classification. `heat` is float32 (height, width) in 0 to 1, the class activation
    map of the winning label over the ECG area `area` of the picture. `quality` is the gate's score, 0 to 1.
    """

    label: Label | None
    reason: Reason | None
    probabilities: tuple[float, float, float] | None
    heat: NDArray[np.float32] | None
    area: Box
    quality: float

    @property
    def state(self) -> JobState:
        return JobState.DONE if self.label is not None else JobState.NOT_DIAGNOSTIC


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model judged: everything that an inspector needs to find it again."""

    name: str
    version: str
    weights_sha256: str
    preprocessing_version: str
    calibration_version: str
    input_height: int
    input_width: int
    explanation: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """A SOP instance whose bytes lie safely on disk, as the listener hands it to the records.

    `content_sha256` covers the data set as sent, without preamble and file meta; `file_sha256` the whole file at
    `path` (relative to the data folder). `comparison_sha256` covers tags and values but no pixels, however they were
    encoded; `pixel_sha256` the pixels. Header texts are decoded and may be empty.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    content_sha256: str
    file_sha256: str
    path: str
    size_bytes: int
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    association_id: str
    stat: bool
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    modality: str = ""
    study_description: str = ""
    study_date: str = ""
    acquisition_datetime: str = ""
    comparison_sha256: str = ""
    pixel_sha256: str = ""
