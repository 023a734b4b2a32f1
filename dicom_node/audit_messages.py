"""Trail events as DICOM audit messages. PS3.15 A.5."""

import base64
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.states import EventKind
from records.audit_search import Entry
from records.trail_export import utc_time

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = "0", "4", "8"  # PS3.15 A.5.2.1, Event Outcome Indicator
_APPLICATION_SERVER = ("4", "DCM", "Application Server Process")  # PS3.15 A.5.2.3, audit source type
_IP_ADDRESS = "2"  # PS3.15 A.5.1, Network Access Point Type Code
_OBJECT_IS_SYSTEM, _ROLE_REPORT, _ROLE_RESOURCE = "2", "3", "4"  # RFC 3881 5.5.1, 5.5.2


@dataclass(frozen=True, slots=True)
class _Code:
    value: str
    meaning: str


_APPLICATION_ACTIVITY = _Code("110100", "Application Activity")
_AUDIT_LOG_USED = _Code("110101", "Audit Log Used")
_INSTANCES_ACCESSED = _Code("110103", "DICOM Instances Accessed")
_INSTANCES_TRANSFERRED = _Code("110104", "DICOM Instances Transferred")
_SECURITY_ALERT = _Code("110113", "Security Alert")
_USER_AUTHENTICATION = _Code("110114", "User Authentication")
_APPLICATION = _Code("110150", "Application")
_DESTINATION_ROLE, _SOURCE_ROLE = _Code("110152", "Destination Role ID"), _Code("110153", "Source Role ID")
_START, _STOP = _Code("110120", "Application Start"), _Code("110121", "Application Stop")
_LOGIN, _LOGOUT = _Code("110122", "Login"), _Code("110123", "Logout")
_NODE_AUTHENTICATION = _Code("110126", "Node Authentication")
_SECURITY_CONFIGURATION = _Code("110129", "Security Configuration")
_SOFTWARE_CONFIGURATION = _Code("110131", "Software Configuration")
_USER_ATTRIBUTES = _Code("110137", "User Security Attributes Changed")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an event of ours is in PS3.15: event, action, type where there is one, outcome."""

    event: _Code
    action: str
    type: _Code | None = None
    outcome: str = SUCCESS


_KINDS: dict[EventKind, _Kind] = {
    EventKind.NODE_STARTED: _Kind(_APPLICATION_ACTIVITY, "E", _START),
    EventKind.NODE_STOPPED: _Kind(_APPLICATION_ACTIVITY, "E", _STOP),
    EventKind.INSTANCE_RECEIVED: _Kind(_INSTANCES_TRANSFERRED, "C"),
    EventKind.INSTANCE_RESENT: _Kind(_INSTANCES_TRANSFERRED, "R"),
    EventKind.RESENT_IN_OTHER_SYNTAX: _Kind(_INSTANCES_TRANSFERRED, "C"),
    EventKind.CONTENT_CONFLICT: _Kind(_INSTANCES_TRANSFERRED, "C", None, MINOR_FAILURE),
    EventKind.DELIVERY_SENT: _Kind(_INSTANCES_TRANSFERRED, "R"),
    EventKind.DELIVERY_COMMITTED: _Kind(_INSTANCES_TRANSFERRED, "R"),
    EventKind.DELIVERY_FAILED: _Kind(_INSTANCES_TRANSFERRED, "R", None, SERIOUS_FAILURE),
    EventKind.INSTANCE_DELETED: _Kind(_INSTANCES_ACCESSED, "D"),
    EventKind.PATIENT_DATA_VIEWED: _Kind(_INSTANCES_ACCESSED, "R"),
    EventKind.FINAL_READ_RECORDED: _Kind(_INSTANCES_ACCESSED, "U"),
    EventKind.JOB_FAILED: _Kind(_INSTANCES_ACCESSED, "E", None, SERIOUS_FAILURE),
    EventKind.ASSOCIATION_REJECTED: _Kind(_SECURITY_ALERT, "E", _NODE_AUTHENTICATION, MINOR_FAILURE),
    EventKind.STORE_REFUSED: _Kind(_SECURITY_ALERT, "E", _NODE_AUTHENTICATION, MINOR_FAILURE),
    EventKind.MODEL_LOADED: _Kind(_SECURITY_ALERT, "E", _SOFTWARE_CONFIGURATION),
    EventKind.MODEL_RELEASED: _Kind(_SECURITY_ALERT, "E", _SOFTWARE_CONFIGURATION),
    EventKind.MODEL_ROLLED_BACK: _Kind(_SECURITY_ALERT, "E", _SOFTWARE_CONFIGURATION),
    EventKind.DESTINATION_PAUSED: _Kind(_SECURITY_ALERT, "E", _SECURITY_CONFIGURATION),
    EventKind.DESTINATION_RESUMED: _Kind(_SECURITY_ALERT, "E", _SECURITY_CONFIGURATION),
    EventKind.ACCOUNT_ADDED: _Kind(_SECURITY_ALERT, "E", _USER_ATTRIBUTES),
    EventKind.ACCOUNT_DISABLED: _Kind(_SECURITY_ALERT, "E", _USER_ATTRIBUTES),
    EventKind.ACCOUNT_ENABLED: _Kind(_SECURITY_ALERT, "E", _USER_ATTRIBUTES),
    EventKind.PASSWORD_CHANGED: _Kind(_SECURITY_ALERT, "E", _USER_ATTRIBUTES),
    EventKind.LOGIN: _Kind(_USER_AUTHENTICATION, "E", _LOGIN),
    EventKind.LOGIN_FAILED: _Kind(_USER_AUTHENTICATION, "E", _LOGIN, MINOR_FAILURE),
    EventKind.LOGOUT: _Kind(_USER_AUTHENTICATION, "E", _LOGOUT),
    EventKind.TRAIL_VERIFIED: _Kind(_AUDIT_LOG_USED, "R"),
    EventKind.TRAIL_EXPORTED: _Kind(_AUDIT_LOG_USED, "R"),
    EventKind.READS_EXPORTED: _Kind(_AUDIT_LOG_USED, "R"),
    EventKind.BACKUP_TAKEN: _Kind(_AUDIT_LOG_USED, "R"),
    EventKind.BACKUP_RESTORED: _Kind(_AUDIT_LOG_USED, "R"),
}
# Steps of our own work on an instance
_OTHER = _Kind(_INSTANCES_ACCESSED, "E")


def audit_message(entry: Entry, source_id: str) -> ET.Element:
    """One AuditMessage; `source_id` names this installation. What PS3.15 has no place for stands in details."""
    kind = _kind_of(entry.kind)
    message = ET.Element("AuditMessage")
    message.append(_event(entry, kind))
    for participant in _participants(entry, kind, source_id):
        message.append(participant)
    source = ET.SubElement(message, "AuditSourceIdentification", AuditSourceID=source_id)
    value, system, meaning = _APPLICATION_SERVER
    _coded(source, "AuditSourceTypeCode", value, system, meaning)
    message.append(_object(entry))
    return message


def audit_messages(entries: Iterable[Entry], source_id: str) -> Iterator[str]:
    """A document whose root holds one AuditMessage an entry, piece by piece."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n'
    for entry in entries:
        yield ET.tostring(audit_message(entry, source_id), encoding="unicode") + "\n"
    yield "</AuditMessages>\n"


def _kind_of(name: str) -> _Kind:
    return _KINDS.get(EventKind(name), _OTHER) if name in set(EventKind) else _OTHER


def _event(entry: Entry, kind: _Kind) -> ET.Element:
    event = ET.Element(
        "EventIdentification",
        EventActionCode=kind.action,
        EventDateTime=utc_time(entry),
        EventOutcomeIndicator=kind.outcome,
    )
    _coded(event, "EventID", kind.event.value, "DCM", kind.event.meaning)
    if kind.type is not None:
        _coded(event, "EventTypeCode", kind.type.value, "DCM", kind.type.meaning)
    _coded(event, "EventTypeCode", entry.kind, "99ECGNODE", entry.kind.replace("_", " "))
    return event


def _participants(entry: Entry, kind: _Kind, source_id: str) -> Iterator[ET.Element]:
    incoming = entry.kind in _INCOMING
    yield _participant(
        entry.actor, requestor=True, role=_role(kind, incoming), address=entry.details.get("peer_address")
    )
    if kind.event is _INSTANCES_TRANSFERRED:
        other = source_id if incoming else str(entry.details.get("destination", "unknown"))
        yield _participant(other, requestor=False, role=_DESTINATION_ROLE)


_INCOMING = frozenset(
    kind.value
    for kind in (
        EventKind.INSTANCE_RECEIVED,
        EventKind.INSTANCE_RESENT,
        EventKind.RESENT_IN_OTHER_SYNTAX,
        EventKind.CONTENT_CONFLICT,
    )
)


def _role(kind: _Kind, incoming: bool) -> _Code | None:
    if kind.event is _INSTANCES_TRANSFERRED:
        return _SOURCE_ROLE
    return _APPLICATION if kind.event is _APPLICATION_ACTIVITY and not incoming else None


def _participant(user: str, requestor: bool, role: _Code | None, address: object = None) -> ET.Element:
    one = ET.Element("ActiveParticipant", UserID=_xml_text(user) or "unknown", UserIsRequestor=str(requestor).lower())
    if address:
        one.set("NetworkAccessPointID", _xml_text(str(address)))
        one.set("NetworkAccessPointTypeCode", _IP_ADDRESS)
    if role is not None:
        _coded(one, "RoleIDCode", role.value, "DCM", role.meaning)
    return one


def _object(entry: Entry) -> ET.Element:
    """What it was about: the ECG, or this node. The entry's own number and hash stand in the details."""
    about_ecg = entry.ecg_id is not None
    one = ET.Element(
        "ParticipantObjectIdentification",
        ParticipantObjectID=f"ecg {entry.ecg_id}" if about_ecg else f"trail entry {entry.seq}",
        ParticipantObjectTypeCode=_OBJECT_IS_SYSTEM,
        ParticipantObjectTypeCodeRole=_ROLE_REPORT if about_ecg else _ROLE_RESOURCE,
    )
    _coded(one, "ParticipantObjectIDTypeCode", "ecg" if about_ecg else "trail", "99ECGNODE", "number in this node")
    uid = entry.details.get("sop_instance_uid")
    if uid:
        ET.SubElement(one, "ParticipantObjectName").text = _xml_text(str(uid))
    told = {"seq": entry.seq, "hash": entry.hash, **entry.details}
    for name, value in told.items():
        if value is not None:
            detail = {"type": _xml_text(name), "value": _base64(value)}
            ET.SubElement(one, "ParticipantObjectDetail", detail)
    return one


def _base64(value: object) -> str:
    """PS3.15 A.5.1: the value of a detail is xsd:base64Binary."""
    return base64.b64encode(str(value).encode()).decode("ascii")


def _coded(parent: ET.Element, name: str, value: str, system: str, meaning: str) -> None:
    """CodedValueType."""
    code = {"csd-code": value, "codeSystemName": system, "originalText": meaning}
    ET.SubElement(parent, name, code)


def _xml_text(text: str) -> str:
    """A text without the characters that XML 1.0 has no way to write."""
    return "".join(sign if sign >= " " or sign in "\t\n\r" else "\ufffd" for sign in text if sign not in "\ufffe\uffff")
