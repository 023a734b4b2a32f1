"""An alert about an ECG as HL7 v2.5.1 ORU^R01, an unsolicited preliminary result, with texts in UTF-8."""

from collections.abc import Iterator
from datetime import UTC, datetime

import hl7

from core.settings import Hl7Receiver, Settings
from core.states import AlertKind
from core.values import Label
from dicom_node import codes
from dicom_node.codes import Code
from records.alerts import AlertView, PendingNotification

VERSION = "2.5.1"
# HL7 2.5.1 chapter 2, 2.7.1; what is left of the control characters would end a segment
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_ESCAPED = {number: " " for number in (*range(32), 127)} | {ord(one): to for one, to in _ESCAPES.items()}
_REPRESENTATIONS = ("A", "I", "P")  # HL7 table 0465: alphabetic, ideographic, phonetic; the order of PS3.5 6.2.1
_STUDY_UID = codes.dcm("110180", "Study Instance UID")
_SOURCE_UID = Code("SOP_INSTANCE_UID", codes.OWN_SCHEME, "SOP Instance UID of the ECG")


def build_oru(pending: PendingNotification, receiver: Hl7Receiver, settings: Settings) -> hl7.Message:
    """The message; the same at every try, but for the time of sending in MSH-7."""
    alert = pending.alert
    segments = [_header(pending, receiver, settings), _patient(alert), _request(alert), *_observations(alert)]
    return hl7.parse("\r".join(segments) + "\r")


def escaped(text: str) -> str:
    """A text that may stand in a field: delimiters escaped, control characters blank."""
    return text.translate(_ESCAPED)


def _segment(name: str, fields: dict[int, str]) -> str:
    """A segment; `fields` by HL7's numbers."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def _header(pending: PendingNotification, receiver: Hl7Receiver, settings: Settings) -> str:
    # MSH-1 is the delimiter itself, so its other fields stand one place earlier
    fields = {
        2: "^~\\&",
        3: "ECG-NODE",
        4: escaped(settings.installation),
        5: escaped(receiver.application),
        6: escaped(receiver.facility),
        7: _time(datetime.now(UTC)),
        9: "ORU^R01^ORU_R01",
        10: pending.message_id,
        11: receiver.processing_id,
        12: VERSION,
        18: "UNICODE UTF-8",
    }
    return _segment("MSH", {number - 1: value for number, value in fields.items()})


def _patient(alert: AlertView) -> str:
    number = escaped(alert.patient_id or "")
    return _segment("PID", {1: "1", 3: f"{number}^^^^PI" if number else "", 5: person_name(alert.patient_name or "")})


def person_name(dicom: str) -> str:
    """A DICOM person name as XPN: a repetition a group. PS3.5 6.2.1 has prefix before suffix, HL7 suffix first."""
    repetitions = []
    for group, representation in zip(dicom.split("="), _REPRESENTATIONS, strict=False):
        if not group.strip("^ "):
            continue
        family, given, middle, prefix, suffix = [*map(escaped, group.split("^")), "", "", "", "", ""][:5]
        repetitions.append("^".join([family, given, middle, suffix, prefix, "", "", representation]))
    return "~".join(repetitions)


def _request(alert: AlertView) -> str:
    accession = escaped(alert.accession_number or "")
    observed = _observed(alert.acquisition_datetime or "") or (_time(alert.received_at) if alert.received_at else "")
    fields = {
        1: "1",
        3: accession or escaped(alert.sop_instance_uid or ""),
        4: _coded(codes.EKG_STUDY),
        7: observed,
        18: accession,
        22: _time(alert.raised_at),
        25: "P",  # table 0123: preliminary
    }
    return _segment("OBR", fields)


def _observations(alert: AlertView) -> Iterator[str]:
    rows: list[tuple[str, Code, str, dict[int, str]]] = []
    if alert.kind is AlertKind.SUSPECTED_INFARCTION:
        infarction, percent = Label.MYOCARDIAL_INFARCTION, 100 * alert.details["probability"]
        rows.append(("CWE", codes.FINDING, _coded(codes.FINDINGS[infarction]), {8: "AA"}))
        limit = f"<{100 * alert.details['threshold']:g}"
        measured = {6: _coded(codes.PERCENT), 7: limit, 8: "AA"}
        rows.append(("NM", codes.PROBABILITIES[infarction], f"{percent:.1f}", measured))
    rows.append(("ST", _STUDY_UID, escaped(alert.study_instance_uid or ""), {}))
    rows.append(("ST", _SOURCE_UID, escaped(alert.sop_instance_uid or ""), {}))
    rows.append(("TX", codes.COMMENT, escaped(alert.text), {}))
    for number, (kind, code, value, more) in enumerate(rows, start=1):
        yield _segment("OBX", {1: str(number), 2: kind, 3: _coded(code), 5: value, 11: "P"} | more)


def _coded(code: Code) -> str:
    return "^".join((escaped(code.value), escaped(code.meaning), escaped(code.scheme)))


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")


def _observed(dicom: str) -> str:
    """A DICOM date and time in HL7's form, without fraction; empty when there is none."""
    digits = dicom.split(".")[0].strip()
    return digits if digits.isdigit() and len(digits) in (8, 10, 12, 14) else ""
