"""Words for people: states, labels, names, times in the site's zone. Used by templates and by the command line."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

from core.states import DeliveryState, JobState, Reason
from core.values import Label
from dicom_node.statuses import Status
from dicom_node.texts import LABEL_TEXTS, REASON_TEXTS

_TURNING = frozenset(["LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"])
NOT_VERIFIED = "Decision support for research, not verified by a physician"
CANNOT_BE_JUDGED = "Cannot be judged"


@dataclass(frozen=True, slots=True)
class Word:
    """A state as a word and a tone (good, busy, warn, bad, quiet), which the style sheet gives a colour."""

    text: str
    tone: str


_JOBS: Mapping[str, Word] = {
    JobState.QUEUED: Word("Waiting", "busy"),
    JobState.RUNNING: Word("Being judged", "busy"),
    JobState.DONE: Word("Judged", "good"),
    JobState.NOT_DIAGNOSTIC: Word(CANNOT_BE_JUDGED, "warn"),
    JobState.FAILED: Word("Failed", "bad"),
}
_DELIVERIES: Mapping[str, Word] = {
    DeliveryState.PREPARED: Word("Waiting to be sent", "busy"),
    DeliveryState.SENT: Word("Accepted", "good"),
    DeliveryState.COMMITTED: Word("Committed", "good"),
    DeliveryState.FAILED: Word("Refused", "bad"),
    DeliveryState.DROPPED: Word("Given up", "quiet"),
}
_DISPOSITIONS: Mapping[str, Word] = {
    "conflict": Word("Kept, not judged: other content under a known UID", "warn"),
    "other_syntax": Word("Kept, not judged: resent in another syntax", "quiet"),
}
_LABELS: Mapping[str, Word] = {
    Label.NORMAL: Word(LABEL_TEXTS[Label.NORMAL], "good"),
    Label.ABNORMAL_HEARTBEAT: Word(LABEL_TEXTS[Label.ABNORMAL_HEARTBEAT], "warn"),
    Label.MYOCARDIAL_INFARCTION: Word(LABEL_TEXTS[Label.MYOCARDIAL_INFARCTION], "bad"),
}
MEANINGS: Mapping[str, str] = {
    Label.NORMAL: "how much the picture looks like an ECG without a finding",
    Label.ABNORMAL_HEARTBEAT: "how much it looks like a disturbance of rhythm or conduction",
    Label.MYOCARDIAL_INFARCTION: "how much it looks like a myocardial infarction",
}


def job_word(state: str | None, disposition: str = "") -> Word:
    """Where the analysis of an ECG is."""
    if state is None:
        return _DISPOSITIONS.get(disposition, Word("Kept, not judged", "quiet"))
    return _JOBS.get(state, Word(state, "quiet"))


def delivery_word(state: str) -> Word:
    """Where a report is on its way."""
    return _DELIVERIES.get(state, Word(state, "quiet"))


def label_word(label: str | None) -> Word:
    """A finding; None is an ECG that cannot be judged."""
    return _LABELS.get(label or "", Word(CANNOT_BE_JUDGED, "warn"))


def reason_text(reason: str | None) -> str:
    """A coded reason in words; a text that is no code stays as it is."""
    known = {one.value: text for one, text in REASON_TEXTS.items()}
    code = (reason or "").split(":", 1)[0]
    return known.get(code, reason or "") if code in set(Reason) else (reason or "")


def status_text(status: int | None) -> str:
    """A DIMSE status as its code, with its name where it is one of ours."""
    if status is None:
        return ""
    name = next((one.name.replace("_", " ").capitalize() for one in Status if one == status), "")
    return f"0x{status:04X} {name}".strip()


def name_text(value: str) -> str:
    """A DICOM person name as a person would write it: the characters of the land first, then the Latin ones.

    Groups are alphabetic=ideographic=phonetic, components family^given^middle^prefix^suffix. PS3.5 6.2.1.
    """
    groups = [_group_text(group) for group in value.split("=")[:3]]
    alphabetic = groups[0]
    others = [group for group in groups[1:2] if group]
    return f"{others[0]} ({alphabetic})" if others and alphabetic else (others or [alphabetic])[0] or "No name"


def _group_text(group: str) -> str:
    family, given, middle, prefix, suffix = [*(clean(part) for part in group.split("^")[:5]), *[""] * 5][:5]
    first = " ".join(part for part in (prefix, given, middle) if part)
    return ", ".join(part for part in (family, first, suffix) if part)


def clean(text: str) -> str:
    """Text without control characters, and without those that turn the reading order of what stands around them.

    Letters carry their own direction: names in Arabic and Hebrew need none of these. Unicode TR 36, 2.8.
    """
    return "".join(one for one in text if one in "\n\t" or not _is_control(one)).strip()


def _is_control(one: str) -> bool:
    return unicodedata.category(one) == "Cc" or unicodedata.bidirectional(one) in _TURNING


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def local(at: datetime, zone: str) -> datetime:
    """An instant as the site's clocks show it."""
    return at.astimezone(_zone(zone))


def time_text(at: datetime | None, zone: str, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """An instant for people; empty for None."""
    return local(at, zone).strftime(form) if at else ""


def utc_text(at: datetime) -> str:
    """An instant for machines."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def read_time(text: str, zone: str) -> datetime | None:
    """What a date or datetime field holds, in the site's zone; None when it is empty or no time."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=_zone(zone)) if text else None
    except ValueError:
        return None


def dicom_time_text(value: str) -> str:
    """A DICOM DT as the cart wrote it, in a readable shape: it has no zone unless the cart says so. PS3.5 6.2."""
    digits = value.split(".")[0]
    if len(digits) >= 12 and digits[:12].isdigit():
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]} {digits[8:10]}:{digits[10:12]}"
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}" if len(digits) >= 8 and digits[:8].isdigit() else clean(value)


def span_text(seconds: float | None) -> str:
    """A duration in the unit that a person would use."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def percent(share: float | None) -> str:
    """A probability; none is no number."""
    return "" if share is None else f"{100 * share:.1f} %"


def bytes_text(number: float) -> str:
    """A size in the unit that a person would use."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} bytes"
