"""The decoder process: pictures out of received files, where a hostile one can hurt nothing but itself.

One long-lived child a worker, started by exec (never forked after TensorFlow), with a memory limit, no way to write
files, no secrets in its environment, and a deadline for each object. It is killed and replaced when it breaks one.
What comes back is a length, JSON and bare pixels: nothing is unpickled.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.errors import NotDiagnostic, Unavailable
from core.settings import Settings
from core.states import Reason
from dicom_node.ecg_object import Limits
from worker.decoder_wire import Decoded, receive_decoded, receive_message, send_message

_START_S = 60.0  # imports on a loaded machine; taken from no object's deadline
_GRACE_S = 1.0  # for a child whose pipe broke to end by itself: its own status says why
_ROOT = Path(__file__).resolve().parent.parent
_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_QUIET = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    pipe: socket.socket
    ready: bool = False


class Decoder:
    """Turns files into pictures in a process of its own. For one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._child = self._start()

    @property
    def process_id(self) -> int:
        """Of the child that reads the next object."""
        return self._child.process.pid

    def pictures_of(self, path: Path) -> Decoded:
        """Pictures of the object at `path`. Raises NotDiagnostic, or Unavailable when the file cannot be opened."""
        try:
            return self._ask(path)
        except _KilledFromOutside:
            # By an administrator, or by the kernel short of memory: the object may be innocent, once
            try:
                return self._ask(path)
            except _KilledFromOutside as error:
                raise NotDiagnostic(Reason.TOO_BIG, "its decoder was killed twice") from error

    def _ask(self, path: Path) -> Decoded:
        pipe = self._running().pipe
        deadline = time.monotonic() + self._settings.decode_timeout_s
        try:
            pipe.settimeout(self._settings.decode_timeout_s)
            send_message(pipe, {"path": str(path.resolve())})
            return receive_decoded(pipe, deadline, self._settings.decode_memory_bytes)
        except TimeoutError as error:
            self._replace()
            limit = self._settings.decode_timeout_s
            raise NotDiagnostic(Reason.TOO_BIG, f"not decoded within {limit:g} s") from error
        except (EOFError, ConnectionError) as error:
            status = self._replace(_GRACE_S)
            if -status in _OUTSIDE:
                raise _KilledFromOutside from error
            raise NotDiagnostic(Reason.DAMAGED, f"its decoder ended with status {status}") from error
        except (ValueError, KeyError, TypeError) as error:
            self._replace()
            raise NotDiagnostic(Reason.DAMAGED, "its decoder answered what cannot be believed") from error

    def _running(self) -> _Child:
        """The child, once it is ready. Raises Unavailable."""
        if self._child.process.poll() is not None:
            self._replace()
        if not self._child.ready:
            try:
                receive_message(self._child.pipe, time.monotonic() + _START_S)
            except (EOFError, ConnectionError, TimeoutError) as error:
                status = self._replace(_GRACE_S)
                raise Unavailable(
                    f"the decoder process did not start (status {status}): decode_memory_bytes?"
                ) from error
            self._child.ready = True
        return self._child

    def orders(self) -> dict[str, Any]:
        """What the child is told at its start."""
        return {
            "limits": asdict(Limits.of(self._settings)),
            "memory_bytes": self._settings.decode_memory_bytes,
            "timeout_s": self._settings.decode_timeout_s,
        }

    def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.decoder_child", str(theirs.fileno()), json.dumps(self.orders())],
                env={"PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)]), **_QUIET},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        return _Child(process, ours)

    def _replace(self, grace_s: float = 0.0) -> int:
        """End the child, start the next one without waiting for it, and say how the first ended."""
        status = self._end(grace_s)
        self._child = self._start()
        return status

    def _end(self, grace_s: float) -> int:
        process = self._child.process
        self._child.pipe.close()
        try:
            return process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def close(self) -> None:
        """End the child."""
        self._end(_GRACE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _KilledFromOutside(Exception):
    """The child got a signal that no file can send."""
