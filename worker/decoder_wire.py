"""What parent and decoder process say to each other: a length, JSON, then bare pixels.

The child reads what strangers wrote, so the parent believes nothing of it: every number is checked and nothing is
ever unpickled.
"""

import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import NotDiagnostic, Unavailable
from core.states import Reason
from core.values import Box, LeadBox, Picture
from dicom_node.ecg_object import Kind

_LENGTH = struct.Struct("!I")
_MOST_JSON = 1 << 20
_MOST_DETAIL = 200


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The pictures of one object and where they come from; the fields are those of `EcgObject`."""

    kind: Kind
    pictures: tuple[Picture, ...]
    left_out: int = 0
    channels: tuple[tuple[int, int], ...] = ()


def send_message(pipe: socket.socket, message: Mapping[str, Any], arrays: Sequence[NDArray[np.uint8]] = ()) -> None:
    """Send JSON and then each array's bytes."""
    body = json.dumps(message).encode("ascii")
    pipe.sendall(_LENGTH.pack(len(body)) + body)
    for array in arrays:
        pipe.sendall(memoryview(np.ascontiguousarray(array)).cast("B"))


def receive_message(pipe: socket.socket, deadline: float | None = None) -> dict[str, Any]:
    """The JSON of one message. Raises EOFError, TimeoutError, or ValueError for what is no message."""
    head = bytearray(_LENGTH.size)
    _fill(pipe, memoryview(head), deadline)
    (length,) = _LENGTH.unpack(head)
    if length > _MOST_JSON:
        raise ValueError("a message that is too long")
    body = bytearray(length)
    _fill(pipe, memoryview(body), deadline)
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a message that is no object")
    return message


def receive_decoded(pipe: socket.socket, deadline: float, most_bytes: int) -> Decoded:
    """The child's answer. Raises NotDiagnostic or Unavailable as it says, ValueError where it cannot be believed."""
    message = receive_message(pipe, deadline)
    if "reason" in message:
        raise NotDiagnostic(Reason(message["reason"]), str(message.get("detail", ""))[:_MOST_DETAIL])
    if "away" in message:
        raise Unavailable(f"a received file cannot be opened: {str(message['away'])[:_MOST_DETAIL]}")
    kind = Kind(message["kind"])
    channels = tuple((int(group), int(channel)) for group, channel in message["channels"])
    empty = [_empty_picture(one) for one in message["pictures"]]
    if 3 * sum(height * width for (height, width), _, _ in empty) > most_bytes:
        raise ValueError("pictures of an impossible size")
    pictures = tuple(Picture(_receive_rgb(pipe, size, deadline), frame, leads) for size, frame, leads in empty)
    return Decoded(kind, pictures, int(message["left_out"]), channels)


def _empty_picture(one: Mapping[str, Any]) -> tuple[tuple[int, int], int | None, tuple[LeadBox, ...]]:
    """What is said of a picture before its pixels come: size, frame, leads."""
    height, width, frame = int(one["height"]), int(one["width"]), one["frame"]
    if height <= 0 or width <= 0:
        raise ValueError("a picture of an impossible size")
    leads = tuple(LeadBox(str(lead["lead"]), Box(*map(float, lead["box"]))) for lead in one["leads"])
    return (height, width), None if frame is None else int(frame), leads


def _receive_rgb(pipe: socket.socket, size: tuple[int, int], deadline: float) -> NDArray[np.uint8]:
    rgb = np.empty((*size, 3), np.uint8)
    _fill(pipe, memoryview(rgb).cast("B"), deadline)
    return rgb


def send_decoded(pipe: socket.socket, decoded: Decoded) -> None:
    """The child's answer: what was found."""
    pictures = [
        {
            "height": picture.rgb.shape[0],
            "width": picture.rgb.shape[1],
            "frame": picture.frame,
            "leads": [
                {"lead": lead.lead, "box": [lead.box.left, lead.box.top, lead.box.right, lead.box.bottom]}
                for lead in picture.leads
            ],
        }
        for picture in decoded.pictures
    ]
    message = {
        "kind": decoded.kind.value,
        "pictures": pictures,
        "left_out": decoded.left_out,
        "channels": [list(pair) for pair in decoded.channels],
    }
    send_message(pipe, message, [picture.rgb for picture in decoded.pictures])


def _fill(pipe: socket.socket, buffer: memoryview, deadline: float | None) -> None:
    """Receive exactly as many bytes as fit, each wait no longer than what is left until the deadline."""
    while buffer:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            pipe.settimeout(left)
        count = pipe.recv_into(buffer)
        if not count:
            raise EOFError("the other end is gone")
        buffer = buffer[count:]
