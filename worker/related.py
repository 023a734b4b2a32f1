"""Several objects of one ECG: each is answered, or, where the site wants so, the waveform alone."""

from enum import StrEnum

from core.settings import Settings
from core.states import JobState, Reason
from dicom_node.contexts import ObjectKind, kind_of
from records.database import Database
from records.instances import seconds_since
from records.jobs import ClaimedJob
from records.related import RelatedObject, find_related

_PICTURES = frozenset({ObjectKind.IMAGE, ObjectKind.PDF})
_GOING_ON = frozenset({JobState.QUEUED, JobState.RUNNING})


class Turn(StrEnum):
    """What is to be done with an object now."""

    JUDGE = "judge"
    WAIT = "wait"
    SUPERSEDED = "superseded"


def find_turn(job: ClaimedJob, settings: Settings, database: Database) -> Turn:
    """Whether an object is to be judged. What a person asks for again is judged, whatever the rule says."""
    if settings.related_objects == "each" or job.request != "first" or kind_of(job.sop_class_uid) not in _PICTURES:
        return Turn.JUDGE
    related = find_related(database, job.ecg_id)
    if related is None:
        return Turn.JUDGE
    waveforms = [one for one in related if kind_of(one.sop_class_uid) is ObjectKind.WAVEFORM]
    if any(_is_answered(one) for one in waveforms):
        return Turn.SUPERSEDED
    if any(one.state in _GOING_ON for one in waveforms):
        return Turn.WAIT
    early = not waveforms and seconds_since(database, job.received_at) < settings.waveform_wait_s
    return Turn.WAIT if early else Turn.JUDGE


def _is_answered(waveform: RelatedObject) -> bool:
    """A waveform that could be drawn and judged, even if the network was not certain."""
    uncertain = waveform.state is JobState.NOT_DIAGNOSTIC and waveform.reason == Reason.UNCERTAIN
    return waveform.state is JobState.DONE or uncertain
