"""The decoder process itself: `python -m worker.decoder_child DESCRIPTOR LIMITS`, started by `worker.decoder`."""

import json
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import NotDiagnostic
from core.states import Reason
from core.values import Signal
from dicom_node.ecg_object import Kind, Limits
from dicom_node.image import read_ecg
from model.rendering import draw_standard_sheet
from worker.decoder_wire import Decoded, receive_message, send_decoded, send_message


def main(pipe: socket.socket, given: dict[str, Any]) -> None:
    """Answer requests on `pipe` until it ends; `given` are Decoder.orders."""
    _load_decoders()
    _lock_in(given["memory_bytes"])
    send_message(pipe, {"ready": True})
    limits = Limits(**given["limits"])
    while True:
        try:
            request = receive_message(pipe)
        except EOFError:
            return  # the parent is gone
        # The default action of SIGALRM ends this process even inside a decoder's loop, should the parent not do it
        signal.setitimer(signal.ITIMER_REAL, given["timeout_s"] + 1)
        _answer(pipe, Path(request["path"]), limits)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _load_decoders() -> None:
    """Load what is loaded lazily elsewhere now, before the memory limit and off every object's deadline."""
    import gdcm  # noqa: F401
    import jpeg_ls  # noqa: F401
    import openjpeg  # noqa: F401
    import simplejpeg  # noqa: F401


def _lock_in(memory_bytes: int) -> None:
    """A limit on memory, no files of our own, no core dump with a patient's picture in it."""
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _answer(pipe: socket.socket, path: Path, limits: Limits) -> None:
    try:
        decoded = _decode(path, limits)
    except NotDiagnostic as error:
        send_message(pipe, {"reason": error.reason.value, "detail": error.detail})
    except MemoryError:
        send_message(pipe, {"reason": Reason.TOO_BIG.value, "detail": "needs more memory than the decoder may have"})
    except OSError as error:
        send_message(pipe, {"away": error.strerror or type(error).__name__})
    except Exception as error:  # noqa: BLE001 - the process's edge: a file may raise anything in a foreign decoder
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        send_message(pipe, {"reason": Reason.DAMAGED.value, "detail": f"decoding raised {where}"})
    else:
        send_decoded(pipe, decoded)


def _decode(path: Path, limits: Limits) -> Decoded:
    found = read_ecg(path, limits)
    pictures = found.pictures
    if found.kind is Kind.WAVEFORM and found.signal is not None:
        pictures = (draw_standard_sheet(centred(found.signal)),)
    return Decoded(found.kind, pictures, found.left_out, found.channels)


def centred(signal: Signal) -> Signal:
    """Each lead about its own median: an electrode's half-cell voltage or a sender's baseline is not the heart's."""
    return Signal(
        {lead: values - np.nanmedian(values) for lead, values in signal.leads.items()}, signal.sampling_rate_hz
    )


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2]))
