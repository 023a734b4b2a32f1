"""DIMSE status codes and association rejections by name, each with its clause."""

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Status(IntEnum):
    """Answers to C-STORE, C-ECHO, N-ACTION and N-EVENT-REPORT. PS3.4 Table B.2-1, PS3.7 Annex C."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.5: a fault of our own
    DUPLICATE_SOP_INSTANCE = 0x0111  # PS3.7 C.5.7: the peer has it already
    NO_SUCH_SOP_INSTANCE = 0x0112  # PS3.7 C.5.8
    INVALID_ARGUMENT = 0x0115  # PS3.7 C.5.10
    SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6
    NO_SUCH_ACTION = 0x0123  # PS3.7 C.5.9
    RESOURCE_LIMITATION = 0x0213  # PS3.7 C.5.23
    OUT_OF_RESOURCES = 0xA700  # PS3.4 Table B.2-1
    DATA_SET_DOES_NOT_MATCH = 0xA900  # PS3.4 Table B.2-1
    WARNING_COERCION = 0xB000  # PS3.4 Table B.2-1
    WARNING_ELEMENTS_DISCARDED = 0xB006  # PS3.4 Table B.2-1
    WARNING_DOES_NOT_MATCH = 0xB007  # PS3.4 Table B.2-1
    # "Cannot understand", PS3.4 Table B.2-1: 0xCxxx, the last digits are ours
    CANNOT_UNDERSTAND = 0xC000
    TRUNCATED = 0xC001
    TOO_DEEP = 0xC002
    UID_MISSING = 0xC003
    UID_MALFORMED = 0xC004
    TOO_LARGE = 0xC005


DELIVERED = frozenset(
    {
        Status.SUCCESS,
        Status.DUPLICATE_SOP_INSTANCE,
        Status.WARNING_COERCION,
        Status.WARNING_ELEMENTS_DISCARDED,
        Status.WARNING_DOES_NOT_MATCH,
    }
)
OUT_OF_RESOURCES_MASK = 0xFF00  # PS3.4 Table B.2-1: the whole range 0xA7xx means out of resources


def may_pass(status: int) -> bool:
    """Whether the same request may succeed later: out of resources, or a failure inside the peer."""
    return status & OUT_OF_RESOURCES_MASK == Status.OUT_OF_RESOURCES or status == Status.PROCESSING_FAILURE


class FailureReason(IntEnum):
    """Why an instance is not committed to, (0008,1197). PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    REFERENCED_SOP_CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


class Rejection(NamedTuple):
    """Result, source and reason of an A-ASSOCIATE-RJ. PS3.8 Table 9-21."""

    result: int
    source: int
    reason: int


CALLING_AE_TITLE_UNKNOWN = Rejection(1, 1, 3)
CALLED_AE_TITLE_UNKNOWN = Rejection(1, 1, 7)
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2)


class RefusedBecause(StrEnum):
    """Texts for (0000,0902) Error Comment: at most 64 characters, never a peer's words. PS3.7 C.5."""

    DISK_RESERVE = "disk below its reserve"
    STORAGE = "storage failed, nothing kept"
    DATABASE = "audit database does not answer"
    OWN_FAULT = "internal error"
    CLASS_OF_CONTEXT = "SOP class is not the context's"
    NOT_STORAGE = "no storage on this context"
    CLASS_OF_DATA_SET = "SOP class of data set and command differ"
    UID_OF_DATA_SET = "SOP instance UID of data set and command differ"
    NO_DATA_SET = "no data set"
    TRUNCATED = "data set ends before its lengths say"
    NO_CONTENT = "no pixels, waveform or document in it"
    UNREADABLE = "data set cannot be read"
    TOO_DEEP = "sequences nested too deeply"
    UID_MISSING = "SOP, study or series UID is missing"
    UID_MALFORMED = "a UID is malformed"
    TOO_LARGE = "data set is too large"
