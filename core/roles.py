"""Who may do what in the console."""

from enum import StrEnum


class Role(StrEnum):
    """Role of a local account."""

    VIEWER = "viewer"
    CARDIOLOGIST = "cardiologist"
    ADMINISTRATOR = "administrator"


EVERYBODY = frozenset(Role)
READERS = frozenset({Role.CARDIOLOGIST})
ADMINISTRATORS = frozenset({Role.ADMINISTRATOR})
