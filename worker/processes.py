"""The two processes of this package: `work` judges, `send` delivers."""

import signal
import threading
from collections.abc import Sequence
from types import FrameType

import structlog

from core.names import DELIVERY_QUEUE, ROUTINE_QUEUE, STAT_QUEUE
from core.rounds import Rounds
from core.settings import Settings
from core.wakeup import Wakeup
from records.database import Database, open_database
from records.migrate import need_current_schema
from records.processes import ALIVE_EVERY_S, SignsOfLife, record_started, record_stopped

_log = structlog.get_logger(__name__)
_ENDING = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 0.5  # a wait without an end may sleep through a signal while many threads are busy


def run_worker(settings: Settings, queues: Sequence[str] = (STAT_QUEUE, ROUTINE_QUEUE)) -> None:
    """Judge ECGs until SIGTERM. The decoder process is spawned before TensorFlow loads: forking after it hangs."""
    from worker.decoder import Decoder

    with Decoder(settings) as decoder:
        from worker.judging import judging_round
        from worker.models import WorkingModels
        from worker.sweep import SETTLED_S, ResultSweep

        database = _open(settings)
        wakeup = Wakeup(settings)
        models = WorkingModels(settings, database, decoder)
        models.tools()  # the first load, before this process says that it is ready
        limit_s = settings.batch_size * settings.decode_timeout_s + 4 * settings.lease_s
        rounds = Rounds("work", lambda: judging_round(models.tools(), wakeup), settings.reconcile_s, limit_s)
        sweep = Rounds("work-sweep", ResultSweep(settings.data_dir, database), SETTLED_S / 4)
        _run("work", [rounds], settings, database, queues, [sweep])
        wakeup.close()


def run_sender(settings: Settings) -> None:
    """Deliver reports and raise alerts until SIGTERM, each destination and each receiver in a thread of its own."""
    from worker.delivery import need_usable, serve_destination

    need_usable(settings)
    database = _open(settings)
    every_s = min(settings.reconcile_s, settings.retry_first_s)
    rounds = [
        Rounds(
            f"send-{name}",
            lambda name=name, to=to: serve_destination(name, to, settings, database),  # type: ignore[misc]
            every_s,
        )
        for name, to in settings.destinations.items()
        if not to.paused
    ]
    rounds += _commitment_rounds(settings, database, every_s)
    rounds += _alert_rounds(settings, database, every_s)
    _run("send", rounds, settings, database, [DELIVERY_QUEUE])


def _commitment_rounds(settings: Settings, database: Database, every_s: float) -> list[Rounds]:
    from worker.commitment import asking_round, telling_round

    asking = [
        Rounds(
            f"commitment-{name}",
            lambda name=name, to=to: asking_round(name, to, settings, database),  # type: ignore[misc]
            every_s,
        )
        for name, to in settings.destinations.items()
        if to.commitment
    ]
    return [*asking, Rounds("commitment-callers", lambda: telling_round(settings, database), every_s)]


def _alert_rounds(settings: Settings, database: Database, every_s: float) -> list[Rounds]:
    from worker.alerts.notifying import notify_round, tellers
    from worker.alerts.raising import raising_round

    telling = [
        Rounds(channel, lambda channel=channel, tell=tell: notify_round(channel, tell, settings, database), every_s)  # type: ignore[misc]
        for channel, tell in tellers(settings).items()
    ]

    def wake_tellers() -> None:
        for one in telling:
            one.wake()

    return [Rounds("alerts", lambda: raising_round(settings, database, wake_tellers), every_s), *telling]


def _open(settings: Settings) -> Database:
    database = open_database(settings)
    need_current_schema(database)
    return database


def _run(
    kind: str,
    rounds: list[Rounds],
    settings: Settings,
    database: Database,
    queues: Sequence[str],
    helpers: Sequence[Rounds] = (),
) -> None:
    alive = Rounds(f"{kind}-alive", SignsOfLife(kind, database), ALIVE_EVERY_S)
    everything = [*rounds, *helpers, alive]
    for number in _ENDING:
        signal.signal(number, _end)
    try:
        for one in everything:
            one.start()
        record_started(database, kind)
        _log.info("ready", process=kind)
        if settings.broker_url.get_secret_value():
            _consume(rounds, settings, queues, kind)
        else:
            # Without a broker there is nothing to consume: the rounds find all work in the database
            while not threading.Event().wait(_LOOK_S):
                pass
    except SystemExit:
        _log.info("stopping", process=kind)
    finally:
        for one in everything:
            one.stop()
        record_stopped(database, kind)
        database.close()


def _consume(rounds: Sequence[Rounds], settings: Settings, queues: Sequence[str], kind: str) -> None:
    from worker.tasks import build_app, run_consumer

    run_consumer(build_app(settings, rounds), queues, kind)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End in good order from wherever the main thread is; a broker's consumer puts its own handlers in place of it."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)
