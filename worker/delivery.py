"""Results on their way to a PACS: tried again until it has them, for ever where the failure may pass."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from core.back_off import back_off_s
from core.errors import BadSettings, DatabaseAway, PeerAway, StorageFull
from core.files import sha256_of
from core.settings import Destination, Settings
from dicom_node.commitment_proof import way_to
from dicom_node.scu import Outgoing, SendOutcome, Verdict, offered_sr_class, send
from dicom_node.tls import client_context
from dicom_node.transcoding import missing_encoder
from records.database import Database
from records.deliveries import (
    LostTurn,
    PendingDelivery,
    Turn,
    claim_destination,
    end_turn,
    keep_sr_class,
    list_due,
    record_away,
    record_delivered,
    record_postponed,
    record_refused,
    renew_turn,
)
from records.processes import process_id
from worker.files import result_path

_log = structlog.get_logger(__name__)
_TOGETHER = 20  # reports that share an association
_LOST = "the result's file is gone from the data folder or was changed there; restore it from a backup, then retry"


def need_usable(settings: Settings) -> None:
    """Every certificate file can be read and every encoding written.

    Raises BadSettings naming the destination, or the caller that is told of storage commitment.
    """
    for name, caller in settings.callers.items():
        way = way_to(caller, caller.ae_titles[0], settings) if caller.host else None
        try:
            if way is not None and way.tls:
                client_context(way)
        except BadSettings as error:
            raise BadSettings(f"callers.{name}.{error}") from error
    for name, destination in settings.destinations.items():
        try:
            if destination.tls:
                client_context(destination)
        except BadSettings as error:
            raise BadSettings(f"destinations.{name}.{error}") from error
        if missing := missing_encoder(destination):
            raise BadSettings(
                f"destinations.{name}.transfer_syntax: {missing} cannot be written here; install ecg-node[worker]"
            )


def serve_destination(name: str, destination: Destination, settings: Settings, database: Database) -> int:
    """Take a destination's turn and send some of what is due; how many reports were tried. Raises DatabaseAway.

    One association a call, so that a long queue does not keep the process from stopping.
    """
    turn = claim_destination(database, name, process_id("send"), settings.lease_s)
    if turn is None:
        return 0
    try:
        with _renewed(turn, settings, database):
            return _serve(turn, destination, settings, database)
    except LostTurn as error:
        _log.warning("turn_lost", destination=name, why=str(error))
        return 0


def _serve(turn: Turn, destination: Destination, settings: Settings, database: Database) -> int:
    try:
        turn = _with_sr_class(turn, destination, settings, database)
    except PeerAway as error:
        _stay_away(turn, str(error), [], settings, database)
        return 0
    due = list_due(database, turn, _TOGETHER)
    if _send_some(turn, due, destination, settings, database):
        end_turn(database, turn)
        return len(due)
    return 0


@contextmanager
def _renewed(turn: Turn, settings: Settings, database: Database) -> Iterator[None]:
    """Keep the turn while a slow PACS is served; a sender that dies or freezes loses it within its lease."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(settings.lease_s / 4):
            try:
                renew_turn(database, turn, settings.lease_s)
            except DatabaseAway as error:
                _log.warning("turn_not_renewed", destination=turn.destination, why=str(error))
            except LostTurn:
                return  # whoever records next is told

    thread = threading.Thread(target=renew, name=f"turn-{turn.destination}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _with_sr_class(turn: Turn, destination: Destination, settings: Settings, database: Database) -> Turn:
    """The turn with the SR class that the destination takes; asked once, and kept."""
    wanted = destination.sr_class if destination.sr_class != "auto" else turn.sr_class
    if not wanted:
        wanted = offered_sr_class(destination, settings.ae_title, settings.send_timeout_s)
    return turn if wanted == turn.sr_class else keep_sr_class(database, turn, wanted)


def _send_some(
    turn: Turn, due: Sequence[PendingDelivery], destination: Destination, settings: Settings, database: Database
) -> bool:
    """Send reports on one association and record each answer; False when the destination is away."""
    whole = [one for one in due if _is_whole(one, settings)]
    for lost in [one for one in due if one not in whole]:
        # Asking the PACS again would never bring it back, and must not hold up what stands behind it
        _log.error("result_lost", delivery=lost.delivery_id, sha256=lost.sha256)
        record_refused(database, turn, lost, None, _LOST)
    outgoing = [_outgoing(one, settings) for one in whole]
    outcomes = send(destination, settings.ae_title, outgoing, settings.send_timeout_s) if outgoing else []
    for delivery, outcome in zip(whole, outcomes, strict=True):
        if outcome.verdict is Verdict.RETRY and outcome.status is None:
            _stay_away(turn, outcome.text, [delivery], settings, database)
            return False
        _record(turn, delivery, outcome, settings, database)
    return True


def _is_whole(delivery: PendingDelivery, settings: Settings) -> bool:
    """Whether the result's bytes are those that were recorded. Raises StorageFull when the folder itself is away."""
    path = result_path(settings, delivery.sha256)
    try:
        return sha256_of(path) == delivery.sha256
    except FileNotFoundError:
        results = settings.data_dir / "results"
        if results.is_dir():
            return False
        raise StorageFull(f"{results} is not there: mount the shared data folder; deliveries wait for it") from None
    except OSError as error:
        raise StorageFull(f"{path.parent} cannot be read ({error.strerror}); deliveries wait for it") from error


def _outgoing(delivery: PendingDelivery, settings: Settings) -> Outgoing:
    return Outgoing(
        path=result_path(settings, delivery.sha256),
        sop_class_uid=delivery.sop_class_uid,
        sop_instance_uid=delivery.sop_instance_uid,
        transfer_syntax_uid=delivery.transfer_syntax_uid,
    )


def _record(
    turn: Turn, delivery: PendingDelivery, outcome: SendOutcome, settings: Settings, database: Database
) -> None:
    if outcome.verdict is Verdict.DELIVERED:
        record_delivered(database, turn, delivery, outcome.status or 0)
        _log.info("delivered", destination=turn.destination, status=outcome.status, **_about(delivery))
    elif outcome.verdict is Verdict.FAILED:
        _log.error("delivery_refused", status=outcome.status, why=outcome.text, **_about(delivery))
        record_refused(database, turn, delivery, outcome.status, outcome.text)
    else:
        delay_s = back_off_s(delivery.attempt, settings, random.random)
        _log.warning("delivery_postponed", status=outcome.status, delay_s=delay_s, **_about(delivery))
        record_postponed(database, turn, delivery, outcome.status, outcome.text, delay_s)


def _about(delivery: PendingDelivery) -> dict[str, object]:
    """The ids by which a line of the log is found."""
    ids = {"association": delivery.association_id, "ecg": delivery.ecg_id, "job": delivery.job_id}
    return {**ids, "delivery": delivery.delivery_id, "kind": delivery.kind}


def _stay_away(turn: Turn, why: str, tried: Sequence[PendingDelivery], settings: Settings, database: Database) -> None:
    delay_s = back_off_s(turn.failures, settings, random.random)
    _log.warning("destination_away", destination=turn.destination, why=why, delay_s=round(delay_s, 1))
    record_away(database, turn, why, delay_s, tried)
