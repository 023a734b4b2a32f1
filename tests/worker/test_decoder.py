"""The decoder process: what it reads comes over whole, and what breaks it breaks nothing else."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from core.errors import NotDiagnostic, Unavailable
from core.settings import Settings
from core.states import Reason
from core.values import Box, LeadBox, Picture
from dicom_node.ecg_object import Kind, Limits
from dicom_node.image import read_ecg
from tests.conftest import ROOT
from tests.intake.image_objects import Format, build_image, ecg_like, save
from tests.intake.waveform_objects import Group, beats, build_waveform
from worker.decoder import Decoder
from worker.decoder_wire import Decoded, receive_decoded, send_decoded

RGB = Format("rgb", "RGB", 8, 8, frames=2)


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    return save(build_image(RGB, ecg_like(RGB)), tmp_path / "picture.dcm")


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """A file whose reading never ends: a FIFO that nobody writes to."""
    path = tmp_path / "stuck.dcm"
    os.mkfifo(path)
    return path


@pytest.fixture
def make_decoder(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Decoder]]:
    made: list[Decoder] = []

    def make(**given: object) -> Decoder:
        made.append(Decoder(make_settings(**given)))
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


def _wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.01)


@contextmanager
def _signalled_while_reading(
    decoder: Decoder, fifo: Path, number: signal.Signals, before: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Signal the child once it reads `fifo`: holding the other end open keeps it there."""
    done: list[int] = []

    def writer_end() -> bool:
        try:
            done.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def send() -> None:
        _wait_for(writer_end)
        before()
        os.kill(decoder.process_id, number)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()
    for descriptor in done:
        os.close(descriptor)


def _assert_reads(decoder: Decoder, path: Path) -> None:
    assert [picture.frame for picture in decoder.pictures_of(path).pictures] == [1, 2]


def _reason(decoder: Decoder, path: Path) -> tuple[Reason, str]:
    with pytest.raises(NotDiagnostic) as refused:
        decoder.pictures_of(path)
    return refused.value.reason, refused.value.detail


def test_pictures_come_over_as_they_were_read(make_decoder: Callable[..., Decoder], picture_file: Path) -> None:
    decoder = make_decoder()
    decoded = decoder.pictures_of(picture_file)
    expected = read_ecg(picture_file, Limits())
    assert (decoded.kind, decoded.left_out, decoded.channels) == (Kind.IMAGE, 0, ())
    assert [picture.frame for picture in decoded.pictures] == [1, 2]
    for picture, other in zip(decoded.pictures, expected.pictures, strict=True):
        np.testing.assert_array_equal(picture.rgb, other.rgb)


def test_a_waveform_comes_as_a_sheet_whose_leads_have_places(
    make_decoder: Callable[..., Decoder], tmp_path: Path
) -> None:
    decoded = make_decoder().pictures_of(save(build_waveform(Group(beats())), tmp_path / "waveform.dcm"))
    (sheet,) = decoded.pictures
    assert (decoded.kind, decoded.channels) == (Kind.WAVEFORM, tuple((1, number) for number in range(1, 13)))
    assert {"I", "aVF", "V6"} <= {lead.lead for lead in sheet.leads}


def test_a_reason_comes_over_with_its_detail(make_decoder: Callable[..., Decoder], tmp_path: Path) -> None:
    path = tmp_path / "text.dcm"
    path.write_text("no DICOM")
    assert _reason(make_decoder(), path) == (Reason.DAMAGED, "this is no DICOM object")


def test_a_file_that_is_away_is_asked_for_again_later(make_decoder: Callable[..., Decoder], tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        make_decoder().pictures_of(tmp_path / "away.dcm")


def test_an_object_that_takes_too_long_ends_and_the_next_one_is_read(
    make_decoder: Callable[..., Decoder], stuck: Path, picture_file: Path
) -> None:
    decoder = make_decoder(decode_timeout_s=0.5)
    _assert_reads(decoder, picture_file)
    first = decoder.process_id
    began = time.monotonic()
    assert _reason(decoder, stuck) == (Reason.TOO_BIG, "not decoded within 0.5 s")
    assert time.monotonic() - began < 5
    _assert_reads(decoder, picture_file)
    assert decoder.process_id != first
    assert not Path(f"/proc/{first}").exists()


def test_an_object_that_needs_too_much_memory_ends_and_the_next_one_is_read(
    make_decoder: Callable[..., Decoder], picture_file: Path, tmp_path: Path
) -> None:
    huge = Format("huge", "MONOCHROME2", 8, 8)
    path = save(build_image(huge, np.zeros((1, 9000, 9000, 1), np.uint8)), tmp_path / "huge.dcm")
    decoder = make_decoder(decode_memory_bytes=1 << 28)
    reason, detail = _reason(decoder, path)
    assert (reason, "memory" in detail) == (Reason.TOO_BIG, True)
    _assert_reads(decoder, picture_file)


def test_a_crash_in_native_code_ends_one_object_alone(
    make_decoder: Callable[..., Decoder], stuck: Path, picture_file: Path
) -> None:
    decoder = make_decoder()
    with _signalled_while_reading(decoder, stuck, signal.SIGSEGV):
        assert _reason(decoder, stuck) == (Reason.DAMAGED, "its decoder ended with status -11")
    _assert_reads(decoder, picture_file)


def test_an_object_whose_decoder_is_killed_from_outside_is_tried_once_more(
    make_decoder: Callable[..., Decoder], stuck: Path, picture_file: Path
) -> None:
    decoder = make_decoder()
    with _signalled_while_reading(decoder, stuck, signal.SIGKILL, lambda: os.replace(picture_file, stuck)):
        _assert_reads(decoder, stuck)


def test_a_decoder_killed_between_objects_is_replaced(make_decoder: Callable[..., Decoder], picture_file: Path) -> None:
    decoder = make_decoder()
    _assert_reads(decoder, picture_file)
    os.kill(decoder.process_id, signal.SIGKILL)
    _assert_reads(decoder, picture_file)


def _state_of(process_id: int) -> str:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


_ORPHAN = """
import os, sys
from pathlib import Path
from core.settings import Settings
from worker.decoder import Decoder
decoder = Decoder(Settings(demo=True, decode_timeout_s=1))
print(decoder.process_id, flush=True)
if sys.argv[1] == "idle":
    os.kill(os.getpid(), 9)
decoder.pictures_of(Path(sys.argv[1]))
"""


def test_an_idle_decoder_ends_with_its_worker() -> None:
    _orphan("idle")


def test_a_busy_decoder_ends_soon_after_its_worker(stuck: Path) -> None:
    """Nobody is left to enforce the deadline: the child's own alarm does."""
    held: list[int] = []

    def kill(parent: subprocess.Popen[str]) -> None:
        _wait_for(lambda: _hold(stuck, held))
        parent.kill()

    _orphan(str(stuck), kill)
    os.close(held[0])


def _hold(fifo: Path, held: list[int]) -> bool:
    try:
        held.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _orphan(argument: str, kill: Callable[[subprocess.Popen[str]], None] = lambda _: None) -> None:
    command = [sys.executable, "-c", _ORPHAN, argument]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    kill(parent)
    parent.wait(20)
    _wait_for(lambda: _state_of(child) in ("", "Z"))
    parent.stdout.close()


def test_the_decoder_holds_no_secret_no_network_library_and_cannot_write(
    make_decoder: Callable[..., Decoder], picture_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECG_NODE_TRAIL_KEY", "CANARY")
    decoder = make_decoder()
    _assert_reads(decoder, picture_file)
    about = Path(f"/proc/{decoder.process_id}")
    assert b"CANARY" not in (about / "environ").read_bytes()
    assert b"CANARY" not in (about / "cmdline").read_bytes()
    assert "tensorflow" not in (about / "maps").read_text()
    limits = {line[:25].strip(): line[26:47].strip() for line in (about / "limits").read_text().splitlines()}
    assert (limits["Max file size"], limits["Max core file size"]) == ("0", "0")


def _answer(message: dict[str, object] | bytes) -> Decoded:
    """What the parent makes of a child's answer."""
    ours, theirs = socket.socketpair()
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    theirs.sendall(struct.pack("!I", len(body)) + body)
    theirs.close()
    with ours:
        return receive_decoded(ours, time.monotonic() + 5, 1 << 20)


def _forged(**changed: object) -> dict[str, object]:
    picture = {"height": 1, "width": 1, "frame": None, "leads": []}
    whole = {"kind": "image", "pictures": [picture], "left_out": 0, "channels": []}
    return whole | changed


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"no json", id="no-json"),
        pytest.param(b"[]", id="no-object"),
        pytest.param(b"\x80\x04N.", id="a-pickle"),
        pytest.param({"reason": "no such reason"}, id="unknown-reason"),
        pytest.param(_forged(kind="executable"), id="unknown-kind"),
        pytest.param(_forged(pictures=[{"height": -1, "width": -1, "frame": None, "leads": []}]), id="negative"),
        pytest.param(_forged(pictures=[{"height": 1 << 20, "width": 1 << 20, "frame": None, "leads": []}]), id="giant"),
        pytest.param(_forged(pictures=[{}]), id="no-size"),
        pytest.param(_forged(pictures=[], channels="x"), id="no-number"),
    ],
)
def test_a_forged_answer_is_not_believed(message: dict[str, object] | bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        _answer(message)


def test_an_answer_that_is_too_long_is_not_received() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(struct.pack("!I", 1 << 31))
    with ours, theirs, pytest.raises(ValueError, match="too long"):
        receive_decoded(ours, time.monotonic() + 5, 1 << 20)


def test_an_answer_that_stops_half_way_is_given_up_at_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(struct.pack("!I", 100) + b"{")
    with ours, theirs, pytest.raises(TimeoutError):
        receive_decoded(ours, time.monotonic() + 0.2, 1 << 20)


def test_every_field_of_an_answer_survives_the_way() -> None:
    rng = np.random.default_rng(2)
    leads = (LeadBox("aVR", Box(0.1, 0.2, 0.3, 0.4)),)
    pictures = (Picture(rng.integers(0, 256, (3, 5, 3), np.uint8), 2, leads),)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_decoded(theirs, Decoded(Kind.WAVEFORM, pictures, 4, ((2, 1), (2, 3))))
        found = receive_decoded(ours, time.monotonic() + 5, 1 << 20)
    assert (found.kind, found.left_out, found.channels) == (Kind.WAVEFORM, 4, ((2, 1), (2, 3)))
    assert (found.pictures[0].frame, found.pictures[0].leads) == (2, leads)
    np.testing.assert_array_equal(found.pictures[0].rgb, pictures[0].rgb)
