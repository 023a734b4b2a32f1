"""T33: storage commitment goes wrong in either direction; a result is committed once, and only when the PACS said so.

Seen to fail: with `_OPEN` of records/commitments.py empty a result is asked about twice at the same time; with the
check of the hash taken out of commitment_proof.py a cart may delete what the node no longer has; without
`_asked_anew` an outdated denial sends a result once more.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from core.errors import BadSettings
from core.settings import Caller, Settings
from core.states import CommitmentState, DeliveryState, EventKind
from core.wakeup import Wakeup
from dicom_node.commitment import build_question, new_transaction_uid
from dicom_node.commitment_proof import find_caller
from dicom_node.listener import Listener
from records.audit import verify_trail
from records.commitment_requests import list_requests
from records.commitments import list_commitments
from records.database import Database, open_database
from records.deliveries import list_deliveries
from records.instances import record_received
from records.migrate import migrate
from records.tables import TrailEvent
from tests.certificates import Authority
from tests.faults.commitment_peers import SC_CLASS, SR_CLASS, Cart, CommitmentPacs, call, instance_of, record_result
from tests.faults.commitment_peers import small_object as small
from tests.servers import free_port, wait_until
from worker.commitment import asking_round, telling_round
from worker.delivery import need_usable, serve_destination

MISSING, CONFLICT, DUPLICATE, BUSY = 0x0112, 0x0119, 0x0131, 0x0213


class Here:
    """A node in this process: its records, its listener, and its sender's rounds, called one at a time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database: Database = open_database(settings)
        migrate(self.database)
        self._wakeup = Wakeup(settings)
        self._listener = Listener(settings, self.database, self._wakeup)
        self.port = self._listener.start()

    def close(self) -> None:
        self._listener.stop(2)
        self._wakeup.close()
        self.database.close()

    def deliver(self, pacs: CommitmentPacs) -> None:
        serve_destination("pacs", pacs.destination(), self.settings, self.database)

    def ask(self, pacs: CommitmentPacs) -> int:
        return asking_round("pacs", pacs.destination(), self.settings, self.database)

    def states(self) -> list[str]:
        return sorted(row.state for row in list_deliveries(self.database))

    def events(self, kind: EventKind) -> int:
        with self.database.reading() as session:
            return len(session.scalars(select(TrailEvent.seq).where(TrailEvent.kind == kind.value)).all())

    def let_delays_pass(self) -> None:
        with self.database.writing() as session:
            session.execute(text("UPDATE delivery SET not_before = '2000-01-01 00:00:00.000000'"))
            session.execute(text("UPDATE destination SET commitment_not_before = NULL"))
            session.execute(text("UPDATE commitment_request SET not_before = '2000-01-01 00:00:00.000000'"))

    def keep(self) -> tuple[str, str]:
        """An instance that this node received; class and instance UID."""
        uid, content = small()
        path = self.settings.data_dir / "received" / f"{uid}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        row = instance_of(uid, hashlib.sha256(content).hexdigest(), str(path.relative_to(self.settings.data_dir)))
        record_received(self.database, row)
        return SC_CLASS, uid


@pytest.fixture
def make_here(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Here]]:
    made: list[Here] = []

    def make(**given: object) -> Here:
        defaults: dict[str, object] = {
            "commitment_delay_s": 0,
            "commitment_hold_s": 0,
            "retry_first_s": 60.0,
            "send_timeout_s": 20.0,
        }
        made.append(Here(make_settings(**(defaults | given))))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def here(make_here: Callable[..., Here]) -> Here:
    return make_here()


@pytest.fixture
def pacs() -> Iterator[CommitmentPacs]:
    with CommitmentPacs().running() as running:
        yield running


def _sent(here: Here, pacs: CommitmentPacs) -> tuple[str, list[tuple[str, str]]]:
    """A result that the PACS took and was asked about: the transaction and what it is about."""
    record_result(here.settings, here.database)
    here.deliver(pacs)
    pacs.watched = here.database
    assert here.ask(pacs) == 2
    return pacs.asked[-1]


def test_a_result_is_committed_when_the_pacs_says_so_on_a_new_association_and_only_once(
    here: Here, pacs: CommitmentPacs
) -> None:
    transaction, items = _sent(here, pacs)
    assert pacs.seen_in_database == [True]
    assert {uid for uid, _instance in items} == {SC_CLASS, SR_CLASS}
    assert here.states() == ["sent", "sent"]
    assert here.ask(pacs) == 0
    for role in (True, False):
        assert pacs.report(here.port, transaction, items, {}, role) == 0x0000
    assert here.states() == ["committed", "committed"]
    assert here.events(EventKind.DELIVERY_COMMITTED) == 2
    assert pacs.report(here.port, transaction, [], {items[0]: MISSING}) == 0x0000
    assert here.states() == ["committed", "committed"]
    assert here.ask(pacs) == 0
    assert len(pacs.held) == 2
    assert verify_trail(here.database).fault is None


def test_an_answer_on_the_same_association_counts_too(make_here: Callable[..., Here]) -> None:
    here = make_here(commitment_hold_s=60)
    with CommitmentPacs(same_association=True).running() as pacs:
        _sent(here, pacs)
    assert here.states() == ["committed", "committed"]
    assert [row.state for row in list_commitments(here.database)] == [CommitmentState.ANSWERED]


def test_what_the_pacs_has_lost_is_sent_again_and_asked_about_anew(here: Here, pacs: CommitmentPacs) -> None:
    transaction, (lost, kept) = _sent(here, pacs)
    assert pacs.report(here.port, transaction, [kept], {lost: MISSING}) == 0x0000
    assert here.states() == ["committed", "prepared"]
    here.deliver(pacs)
    assert len(pacs.held) == 2
    here.let_delays_pass()
    here.deliver(pacs)
    assert pacs.held == [lost[1], kept[1], lost[1]]
    assert here.ask(pacs) == 1
    again, items = pacs.asked[-1]
    assert (again != transaction, items) == (True, [lost])
    # What is said to the earlier question is outdated
    assert pacs.report(here.port, transaction, [], {lost: MISSING}) == 0x0000
    assert here.states() == ["committed", "sent"]
    assert pacs.report(here.port, again, items, {}) == 0x0000
    assert here.states() == ["committed", "committed"]


def test_a_class_conflict_waits_for_a_person(here: Here, pacs: CommitmentPacs) -> None:
    transaction, items = _sent(here, pacs)
    assert pacs.report(here.port, transaction, [items[1]], {items[0]: CONFLICT}) == 0x0000
    assert here.states() == ["committed", "failed"]
    (failed,) = list_deliveries(here.database, DeliveryState.FAILED)
    assert failed.last_error == "storage commitment was denied (0x0119)"
    assert here.ask(pacs) == 0


@pytest.mark.parametrize("reason", [DUPLICATE, BUSY, 0x0110, 0x7777])
def test_a_denial_that_may_pass_is_asked_about_again_in_a_new_transaction(
    here: Here, pacs: CommitmentPacs, reason: int
) -> None:
    transaction, items = _sent(here, pacs)
    assert pacs.report(here.port, transaction, [], dict.fromkeys(items, reason)) == 0x0000
    assert here.states() == ["sent", "sent"]
    assert here.ask(pacs) == 0
    here.let_delays_pass()
    assert here.ask(pacs) == 2
    assert pacs.asked[-1][0] != transaction
    assert pacs.report(here.port, *pacs.asked[-1], {}) == 0x0000
    assert here.states() == ["committed", "committed"]


def test_a_question_without_an_answer_is_asked_again_and_a_late_answer_still_counts(
    here: Here, pacs: CommitmentPacs
) -> None:
    transaction, items = _sent(here, pacs)
    with here.database.writing() as session:
        session.execute(text("UPDATE commitment SET created_at = '2000-01-01 00:00:00.000000'"))
    assert here.ask(pacs) == 2
    assert pacs.asked[-1][0] != transaction
    assert [row.state for row in list_commitments(here.database)] == ["unanswered", "asked"]
    assert pacs.report(here.port, transaction, items, {}) == 0x0000
    assert pacs.report(here.port, *pacs.asked[-1], {}) == 0x0000
    assert here.states() == ["committed", "committed"]
    assert here.events(EventKind.DELIVERY_COMMITTED) == 2


def test_a_late_denial_says_nothing_of_what_was_asked_about_anew(here: Here, pacs: CommitmentPacs) -> None:
    transaction, items = _sent(here, pacs)
    with here.database.writing() as session:
        session.execute(text("UPDATE commitment SET created_at = '2000-01-01 00:00:00.000000'"))
    assert here.ask(pacs) == 2
    assert pacs.report(here.port, transaction, [], dict.fromkeys(items, MISSING)) == 0x0000
    assert here.states() == ["sent", "sent"]
    assert pacs.report(here.port, *pacs.asked[-1], {}) == 0x0000
    assert here.states() == ["committed", "committed"]


def test_an_answer_that_forgets_a_result_leaves_it_to_be_asked_about_again(here: Here, pacs: CommitmentPacs) -> None:
    transaction, items = _sent(here, pacs)
    assert pacs.report(here.port, transaction, items[:1], {}) == 0x0000
    here.let_delays_pass()
    assert here.ask(pacs) == 1
    assert pacs.asked[-1][1] == items[1:]


def test_a_pacs_that_refuses_the_question_is_asked_again_later(here: Here) -> None:
    with CommitmentPacs(script=[0x0110]).running() as pacs:
        record_result(here.settings, here.database)
        here.deliver(pacs)
        assert here.ask(pacs) == 0
        assert here.ask(pacs) == 0
        assert len(pacs.asked) == 1
        here.let_delays_pass()
        assert here.ask(pacs) == 2
    assert here.states() == ["sent", "sent"]


def test_a_pacs_without_storage_commitment_leaves_results_sent(here: Here) -> None:
    with CommitmentPacs(commits=False).running() as pacs:
        record_result(here.settings, here.database)
        here.deliver(pacs)
        assert here.ask(pacs) == 0
    assert here.states() == ["sent", "sent"]
    (row,) = list_commitments(here.database)
    assert row.state == CommitmentState.UNANSWERED
    assert row.last_error


def test_an_answer_to_a_question_that_nobody_asked_is_refused(here: Here, pacs: CommitmentPacs) -> None:
    _transaction, items = _sent(here, pacs)
    assert pacs.report(here.port, new_transaction_uid(), items, {}) == 0x0115
    assert here.states() == ["sent", "sent"]


# As SCP: a cart deletes only what we prove to have


@pytest.fixture
def cart() -> Iterator[Cart]:
    with Cart().listening() as listening:
        yield listening


def _with_cart(make_here: Callable[..., Here], port: int, **of_caller: object) -> Here:
    return make_here(callers={"cart": _caller(port, **of_caller)}, demo=False)


def _caller(port: int, **more: object) -> Caller:
    return Caller(ae_titles=("CART",), host="127.0.0.1", port=port, **more)  # type: ignore[arg-type]


def test_a_cart_is_told_on_a_new_association_what_is_safe_and_what_is_not(
    make_here: Callable[..., Here], cart: Cart
) -> None:
    here = _with_cart(make_here, cart.port)
    safe, changed, other = here.keep(), here.keep(), here.keep()
    file = here.settings.data_dir / "received" / f"{changed[1]}.dcm"
    file.write_bytes(file.read_bytes()[:-2] + b"XX")
    unknown = (SC_CLASS, "1.2.3.4.5")
    items = [safe, changed, (SR_CLASS, other[1]), unknown]
    assert cart.ask(here.port, "1.2.3.99", items) == 0x0000
    assert telling_round(here.settings, here.database) == 1
    assert cart.told == [(2, "1.2.3.99", {safe[1]}, {changed[1]: 0x0110, other[1]: CONFLICT, unknown[1]: MISSING})]
    assert telling_round(here.settings, here.database) == 0
    assert here.events(EventKind.COMMITMENT_ANSWERED) == 1
    file.unlink()
    assert cart.ask(here.port, "1.2.3.100", [changed]) == 0x0000
    assert telling_round(here.settings, here.database) == 1
    assert cart.told[-1] == (2, "1.2.3.100", set(), {changed[1]: 0x0110})


def test_a_cart_without_an_address_is_told_on_the_association_on_which_it_asks(here: Here) -> None:
    safe, cart = here.keep(), Cart()
    with cart.asking(here.port, "1.2.3.99", [safe]) as status:
        assert status == 0x0000
        wait_until(lambda: cart.told, 60, "the cart is told")
    assert cart.told == [(1, "1.2.3.99", {safe[1]}, {})]
    wait_until(lambda: list_requests(here.database)[0].state == "answered", 60, "the answer is on record")


def test_a_cart_without_an_address_that_hangs_up_is_not_forgotten(here: Here) -> None:
    assert Cart().ask(here.port, "1.2.3.99", [here.keep()]) == 0x0000
    wait_until(lambda: list_requests(here.database)[0].last_error, 60, "the cart could not be told")
    here.let_delays_pass()
    assert telling_round(here.settings, here.database) == 0
    (request,) = list_requests(here.database)
    assert (request.state, "set host and port" in str(request.last_error)) == ("prepared", True)


def test_a_cart_that_is_away_is_told_when_it_is_back(make_here: Callable[..., Here]) -> None:
    port, cart = free_port(), Cart()
    here = _with_cart(make_here, port)
    safe = here.keep()
    assert cart.ask(here.port, "1.2.3.99", [safe]) == 0x0000
    assert telling_round(here.settings, here.database) == 0
    with cart.listening(port):
        assert telling_round(here.settings, here.database) == 0
        here.let_delays_pass()
        assert telling_round(here.settings, here.database) == 1
    assert cart.told == [(1, "1.2.3.99", {safe[1]}, {})]


def test_a_cart_that_leaves_the_roles_unanswered_is_told_all_the_same(make_here: Callable[..., Here]) -> None:
    cart = Cart()
    with cart.listening(with_roles=False):
        here = _with_cart(make_here, cart.port)
        safe = here.keep()
        assert cart.ask(here.port, "1.2.3.99", [safe]) == 0x0000
        assert telling_round(here.settings, here.database) == 1
    assert cart.told == [(1, "1.2.3.99", {safe[1]}, {})]


# The way back over TLS


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "hospital")


def _over_tls(make_here: Callable[..., Here], hospital: Authority, **given: object) -> Here:
    ours = hospital.sign("node")
    files = {"tls_certificate_file": ours.certificate, "tls_key_file": ours.key, "tls_ca_file": hospital.certificate}
    return make_here(**files, tls_port=0, demo=False, **given)


def test_a_cart_is_told_over_tls_once_its_certificate_holds(
    make_here: Callable[..., Here], hospital: Authority, tmp_path: Path
) -> None:
    """A foreign certificate is shown first. Seen to fail with `way_to` always giving the plain way."""
    port, cart = free_port(), Cart()
    stranger = Authority(tmp_path / "stranger", "another CA").sign("cart")
    here = _over_tls(make_here, hospital, listen_plain=True, callers={"cart": _caller(port, tls=True)})
    safe = here.keep()
    assert cart.ask(here.port, "1.2.3.99", [safe]) == 0x0000
    with cart.listening(port, stranger.serving(clients=hospital.certificate)):
        assert telling_round(here.settings, here.database) == 0
    assert "its certificate does not hold" in str(list_requests(here.database)[0].last_error)
    here.let_delays_pass()
    with cart.listening(port, hospital.sign("cart").serving(clients=hospital.certificate)):
        assert telling_round(here.settings, here.database) == 1
    assert cart.told == [(1, "1.2.3.99", {safe[1]}, {})]


def test_the_way_back_is_plain_only_where_a_setting_says_so(make_settings: Callable[..., Settings]) -> None:
    pem = Path("x.pem")
    tls = {"tls_certificate_file": pem, "tls_key_file": pem, "tls_ca_file": pem}
    for listener, caller, expected in (
        (tls, {}, True),
        (tls, {"tls": False}, False),
        (tls | {"listen_plain": True}, {}, False),
        (tls | {"listen_plain": True}, {"tls": True}, True),
        ({}, {}, False),
        ({}, {"tls": True}, True),
    ):
        settings = make_settings(callers={"cart": _caller(104, **caller)}, **listener)
        way = find_caller(settings, "CART")
        assert way is not None
        assert (way.tls, way.tls_certificate_file) == (
            expected,
            listener.get("tls_certificate_file") and pem if expected else None,
        )


@pytest.mark.parametrize(
    "given", [{"tls": True}, {"tls_ca_file": "x.pem"}, {"host": "h", "port": 1, "tls": False, "tls_ca_file": "x"}]
)
def test_settings_of_the_way_back_that_would_do_nothing_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="tls: "):
        Caller(ae_titles=("CART",), **given)  # type: ignore[arg-type]


def test_a_start_with_a_certificate_of_the_way_back_that_cannot_be_read_is_refused_by_name(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    missing = tmp_path / "missing.pem"
    settings = make_settings(callers={"cart": _caller(104, tls=True, tls_ca_file=missing)})
    with pytest.raises(BadSettings, match=r"callers\.cart\.tls_ca_file: .*missing.pem: No such file"):
        need_usable(settings)


def test_the_same_question_twice_is_answered_twice_and_another_under_its_uid_is_a_duplicate(
    make_here: Callable[..., Here], cart: Cart
) -> None:
    here = _with_cart(make_here, cart.port)
    one, other = here.keep(), here.keep()
    for items in ([one], [one], [other]):
        assert cart.ask(here.port, "1.2.3.99", items) == 0x0000
        assert telling_round(here.settings, here.database) == 1
    told = (1, "1.2.3.99", {one[1]}, {})
    assert cart.told == [told, told, (2, "1.2.3.99", set(), {other[1]: DUPLICATE})]
    assert len(list_requests(here.database)) == 2


def test_a_question_that_is_none_is_refused(here: Here) -> None:
    question = build_question("1.2.3.99", [(SC_CLASS, "1.2.3")])
    assert call(here.port, "CART", action=(2, question)) == 0x0123
    assert call(here.port, "CART", action=(1, build_question("1.2.3.99", []))) == 0x0115
    assert call(here.port, "CART", action=(1, None)) == 0x0115
    assert call(here.port, "CART", action=(1, build_question("../etc", [(SC_CLASS, "1.2.3")]))) == 0x0115
    assert list_requests(here.database) == []
