"""Starts processes of the node by fork, in milliseconds, for tests that kill hundreds: `python -m tests.faults.forks`.

A request is a line of JSON, and so is each answer: the process id, and later how it ended. Each child runs the
product's own `run` function with an environment of its own. Two things are not as in the product: the network's forward
pass is a stand-in, because TensorFlow takes seconds to load and cannot be forked, and a worker's first decoder process
is forked, too, because its imports would be most of what a kill costs. `SIGKILL`, `SIGSTOP`, `LOOP` and `MEMORY` name
borders of the product, and at which passing that befalls the child there.
"""

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import time_machine
from numpy.typing import NDArray

from core.logs import start_logging
from core.settings import PREFIX, read_settings
from core.values import LABELS
from dicom_node import listener
from model.card import read_card, shipped_model_dir
from model.classifier import Classifier, _config_of, _identity
from model.gpu import ON_CPU
from tests.faults.names import CLOCK_SHIFT
from worker import decoder, decoder_child, delivery, judging, models, pipeline, processes, tasks  # noqa: F401 - loaded once, before the forks

# Where a child may die or stop: module, attribute, before or after the call
BORDERS = {
    "woken": ("core.rounds", "Rounds.wake", "before"),
    "claimed": ("worker.judging", "claim_jobs", "after"),
    "decoded": ("worker.pipeline", "_decode", "after"),
    "classified": ("model.classifier", "Classifier.classify", "after"),
    "saved": ("worker.pipeline", "save_result", "after"),
    "before_commit": ("worker.pipeline", "record_answer", "before"),
    "committed": ("worker.pipeline", "record_answer", "after"),
    "before_send": ("worker.delivery", "send", "before"),
    "sent": ("worker.delivery", "send", "after"),
    "recorded": ("worker.delivery", "record_delivered", "after"),
}
_MAP = (7, 7)


def _loop_for_ever() -> None:
    while True:
        pass


def _want_memory() -> None:
    raise MemoryError


# What may befall a child at a border
FATES: dict[str, Callable[[], None]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSTOP": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "LOOP": _loop_for_ever,
    "MEMORY": _want_memory,
}


def main() -> None:
    signal.signal(signal.SIGCHLD, _reap)
    decoder_child._load_decoders()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(request)
        _say({"started": pid})


def _say(answer: dict[str, int]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _reap(_number: int, _frame: FrameType | None) -> None:
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})
    except ChildProcessError:
        return


def _child(request: dict[str, Any]) -> None:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for theirs, ours in ((nothing, 0), (nothing, 1), (log, 2)):
            os.dup2(theirs, ours)
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            del os.environ[name]
        os.environ.update(request["environment"])
        shift_s = float(os.environ.get(CLOCK_SHIFT, "0"))
        if shift_s:
            time_machine.travel(time.time() + shift_s, tick=True).start()
        for fate, act in FATES.items():
            for border, call in request[fate].items():
                _act_at(border, call, act)
        _run(request["kind"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - the child's edge
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(kind: str) -> None:
    settings = read_settings()
    start_logging(settings, kind)
    if kind == "listen":
        listener.run(settings)
    elif kind == "send":
        processes.run_sender(settings)
    else:
        # Without these a child would load TensorFlow: 8 s of CPU for each of hundreds of kills
        Classifier.load = staticmethod(lambda *_given, **_named: _stand_in())  # type: ignore[method-assign]
        models.find_way = lambda: ON_CPU
        decoder.Decoder._start = _fork_decoder  # type: ignore[method-assign]
        processes.run_worker(settings)


class _Forked:
    """What worker.decoder uses of subprocess.Popen, for a child that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("decoder", timeout or 0)
            time.sleep(0.01)
        return status

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


_exec_decoder = decoder.Decoder._start


def _fork_decoder(own: decoder.Decoder) -> decoder._Child:
    """The product's decoder process without its imports; one that replaces it later, beside threads, has them."""
    if threading.active_count() > 1:
        return _exec_decoder(own)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return decoder._Child(_Forked(pid), ours)  # type: ignore[arg-type]
    code = 1
    try:
        ours.close()
        os.dup2(1, 2)
        os.environ.clear()
        decoder_child.main(theirs, own.orders())
        code = 0
    finally:
        os._exit(code)


def _stand_in() -> Classifier:
    """The released classifier with its gates, card and heat; only the forward pass is arithmetic on the pixels."""
    card = read_card(shipped_model_dir())
    config = _config_of(card)
    rng = np.random.default_rng(5)
    dense = rng.normal(size=(16, len(LABELS))).astype(np.float32)
    return Classifier(_identity(card, config), card, _forward, dense, (config.height, config.width), 8)


def _forward(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    means = pixels.reshape(len(pixels), -1).astype(np.float32).mean(axis=1)
    logits = np.stack([9 * np.cos(means + n) for n in range(len(LABELS))], axis=1)
    maps = np.abs(np.sin(np.outer(means, np.arange(_MAP[0] * _MAP[1] * 16)))).reshape(len(pixels), *_MAP, 16)
    return logits.astype(np.float32), maps.astype(np.float32)


def _act_at(border: str, call: int, act: Callable[[], None]) -> None:
    """Act at the `call`-th passing of a border that did something; 0 is every one."""
    module, attribute, when = BORDERS[border]
    holder: Any = importlib.import_module(module)
    *outer, name = attribute.split(".")
    for one in outer:
        holder = getattr(holder, one)
    real: Callable[..., Any] = getattr(holder, name)
    passed, lock = 0, threading.Lock()

    def wrapped(*given: Any, **named: Any) -> Any:
        nonlocal passed
        answer = real(*given, **named) if when == "after" else None
        if when == "before" or answer is None or answer:
            with lock:
                passed += 1
                now = call in (0, passed)
            if now:
                act()
        return real(*given, **named) if when == "before" else answer

    setattr(holder, name, wrapped)


if __name__ == "__main__":
    main()
