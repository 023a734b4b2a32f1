"""Whether an SCP answers at all, asked without an association: nothing is rejected, counted or put on record."""

import socket

from core.errors import PeerAway

# PS3.8 9.3.6: an A-RELEASE-RQ outside of an association is unexpected; the state machine answers with an A-ABORT (AA-1)
_RELEASE_REQUEST = bytes((0x05, 0, 0, 0, 0, 4, 0, 0, 0, 0))


def need_answer(host: str, port: int, timeout_s: float) -> None:
    """Connect and wait until the SCP answers or hangs up by itself. Raises PeerAway; a frozen SCP does neither."""
    try:
        with socket.create_connection((host, port), timeout_s) as probe:
            probe.sendall(_RELEASE_REQUEST)
            probe.recv(16)
    except ConnectionResetError:
        return
    except OSError as error:
        raise PeerAway(f"{host}:{port}: {error.strerror or 'no answer in time'}") from error
