"""Texts that the records keep of a received header, decoded with its own character sets."""

import re

from pydicom.charset import convert_encodings, decode_bytes

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
SPECIFIC_CHARACTER_SET = 0x00080005
PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020
ACCESSION_NUMBER, MODALITY, STUDY_DESCRIPTION = 0x00080050, 0x00080060, 0x00081030
STUDY_DATE = 0x00080020
ACQUISITION_DATE, ACQUISITION_TIME, ACQUISITION_DATETIME = 0x00080022, 0x00080032, 0x0008002A
WANTED = (
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    SERIES_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET,
    PATIENT_NAME,
    PATIENT_ID,
    ACCESSION_NUMBER,
    MODALITY,
    STUDY_DESCRIPTION,
    STUDY_DATE,
    ACQUISITION_DATE,
    ACQUISITION_TIME,
    ACQUISITION_DATETIME,
)
_UID_GRAMMAR = re.compile(r"[0-9]+(\.[0-9]*)*")
_MOST_TEXT = 1024
_PN_DELIMITERS = {0x5C, 0x3D, 0x5E}


def uid_of(value: bytes) -> str:
    """A UID as text, without padding."""
    return value.rstrip(b"\0 ").decode("ascii", "replace").strip()


def is_uid(text: str) -> bool:
    """Whether a text is a UID: digits and dots, 64 characters at most. PS3.5 9.1.

    Components with leading zeros and empty ones are let through: carts send them (ELI 250), and a UID is only ever
    compared.
    """
    return len(text) <= 64 and _UID_GRAMMAR.fullmatch(text) is not None


def texts_of(values: dict[int, bytes]) -> dict[str, str]:
    """The texts that ReceivedInstance keeps, by field name; unreadable bytes become replacement characters."""
    encodings = _encodings(values.get(SPECIFIC_CHARACTER_SET, b""))

    def text(tag: int) -> str:
        raw = values.get(tag, b"")[:_MOST_TEXT]
        decoded = decode_bytes(raw, encodings, set(_PN_DELIMITERS))
        return decoded.replace("\0", "").strip()

    return {
        "patient_name": text(PATIENT_NAME),
        "patient_id": text(PATIENT_ID),
        "accession_number": text(ACCESSION_NUMBER),
        "modality": text(MODALITY),
        "study_description": text(STUDY_DESCRIPTION),
        "study_date": text(STUDY_DATE),
        "acquisition_datetime": text(ACQUISITION_DATETIME) or text(ACQUISITION_DATE) + text(ACQUISITION_TIME),
    }


def _encodings(value: bytes) -> list[str]:
    named = [one.strip() for one in value.rstrip(b"\0 ").decode("ascii", "replace").split("\\")]
    return convert_encodings(named)
