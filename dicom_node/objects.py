"""Values that the builders of reports take and give."""

from dataclasses import dataclass, field
from datetime import datetime

from core.states import ReportKind
from core.values import Judgement
from dicom_node.codes import ReportCodes


@dataclass(frozen=True, slots=True)
class ReportContext:
    """What a report says of the node and of the result; the same context gives the same bytes.

    `when` is the instant of the stored result; `content_sha256` the hash of the source's data set. `channels`
    are the pairs (multiplex group, channel) of a waveform object that were read, both from 1. `same_ecg` are study,
    series, class and instance UID of each other object of the same ECG. `heatmap_strength` is
    the opacity of the hottest place, 0 to 1.
    """

    installation: str
    ae_title: str
    software_version: str
    content_sha256: str
    when: datetime
    codes: ReportCodes = field(default_factory=ReportCodes)
    heatmap_strength: float = 0.5
    channels: tuple[tuple[int, int], ...] = ()
    same_ecg: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FrameFinding:
    """What was said about one frame; `frame` is None when the source has just one."""

    frame: int | None
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class BuiltObject:
    """A DICOM object ready to be stored: `content` is a complete Part 10 file."""

    kind: ReportKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    frame: int | None
    content: bytes


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """An object that is somewhere already, by the four UIDs that find it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
