"""Every error that the node raises on purpose, in two kinds.

EcgNodeError
├── Rejected              the thing itself is at fault: record the reason, never try again
│   ├── NotDiagnostic     an ECG object that cannot be judged, with its coded reason
│   ├── BadSettings       a setting is unknown, impossible or unsafe
│   └── BadModel          a weights file, a card or an agreement check does not hold
└── Unavailable           something outside is away or full: try again later
    ├── StorageFull       below the disk reserve, or the file system refuses
    ├── DatabaseAway      locked past its limit, restarting, out of connections
    ├── BrokerAway        Redis does not answer; never stops clinical work
    └── PeerAway          a PACS refuses, is silent or answers with a passing failure

A message says what happened and what to do next, and never holds patient data.
"""

from core.states import Reason


class EcgNodeError(Exception):
    """Root of the node's errors."""


class Rejected(EcgNodeError):
    """The thing itself is at fault; trying again would end the same way."""


class NotDiagnostic(Rejected):
    """An object that was kept but cannot be judged."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class BadSettings(Rejected):
    """A setting is unknown, impossible or unsafe; the message names it."""


class BadModel(Rejected):
    """A model cannot be trusted: its sha256, card or golden outputs do not hold."""


class Unavailable(EcgNodeError):
    """Something outside is away or full; the same call may succeed later."""


class StorageFull(Unavailable):
    """The disk is below its reserve, or the file system refused a write."""


class DatabaseAway(Unavailable):
    """The database is locked past its limit, restarting or out of connections.

    `in_doubt` is True when the connection broke while committing: the change may have happened.
    """

    def __init__(self, message: str, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class BrokerAway(Unavailable):
    """The broker does not answer; work goes on from the database."""


class PeerAway(Unavailable):
    """A DICOM peer refuses, is silent or answers with a failure that may pass."""
