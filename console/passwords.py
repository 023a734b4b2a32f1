"""Passwords: argon2id hashes, and what a password must be. The parameters are RFC 9106's for limited memory."""

import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from core.errors import Rejected

SHORTEST, LONGEST = 12, 256
_AT_ONCE = 2  # each takes 64 MiB: a flood of logins must not take the machine's memory


class Passwords:
    """Hashes and verifies, a few at a time."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._few = threading.BoundedSemaphore(_AT_ONCE)
        self._nobodys = self.hash("a hash for accounts that there are not")

    def hash(self, password: str) -> str:
        """The hash to keep."""
        with self._few:
            return self._hasher.hash(_normal(password))

    def is_right(self, kept: str | None, password: str) -> bool:
        """Whether a password fits; takes the same time for an account that there is not."""
        with self._few:
            try:
                return self._hasher.verify(kept or self._nobodys, _normal(password)) and kept is not None
            except (VerifyMismatchError, VerificationError, InvalidHashError):
                return False

    def is_old(self, kept: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(kept)


def need_good_password(password: str, name: str) -> None:
    """Raise Rejected for a password that is too short, too long or the account's name. NIST SP 800-63B 5.1.1.2."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Rejected(f"a password has {SHORTEST} to {LONGEST} characters; a few words are easy to remember")
    if name.casefold() in password.casefold() and len(password) < len(name) + SHORTEST:
        raise Rejected("the password is little more than the account's name; choose another one")


def _normal(password: str) -> str:
    # The same characters typed on different machines may arrive composed or decomposed
    return unicodedata.normalize("NFKC", password)
