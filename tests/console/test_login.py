"""Logging in: who gets in, how guessing is slowed, how a login ends."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import time_machine

from console.throttle import ADDRESS_FAILURES, FAILURES, WINDOW_S, Throttle
from core.settings import Settings
from core.states import EventKind
from records.accounts import change_password, disable_account
from records.audit_search import Search, search_trail
from records.database import Database
from records.instances import record_received
from tests.console.conftest import field_of, log_in
from tests.console.serving import PASSWORD, Served, served
from tests.records.samples import received
from tests.servers import wait_until

Make = Callable[..., Settings]


@pytest.fixture
def console(make_settings: Make) -> Iterator[Served]:
    with served(make_settings()) as running:
        yield running


def _is_in(client: httpx.Client) -> bool:
    return client.get("/system").status_code == 200


def _events(database: Database, kind: EventKind) -> list[tuple[str, object]]:
    return [(one.actor, one.details.get("peer_address")) for one in search_trail(database, Search([kind])).entries]


def test_a_login_opens_the_pages_and_is_in_the_trail(console: Served) -> None:
    with console.client() as client:
        answer = log_in(client, "Anna ", PASSWORD)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert _is_in(client)
        cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert _events(console.database, EventKind.LOGIN) == [("anna", "127.0.0.1")]


def test_a_wrong_password_and_a_wrong_name_get_the_same_answer(console: Served) -> None:
    with console.client() as client:
        first, second = log_in(client, "anna", "x" * 20), log_in(client, "my secret password", "y" * 20)
        assert first.status_code == second.status_code == 401
        assert not _is_in(client)
    assert "Name or password is wrong." in first.text
    assert "Name or password is wrong." in second.text
    assert _events(console.database, EventKind.LOGIN_FAILED) == [
        ("unknown account", "127.0.0.1"),
        ("anna", "127.0.0.1"),
    ]


def test_after_some_failures_even_the_right_password_waits(console: Served) -> None:
    with console.client() as client:
        for _ in range(FAILURES):
            assert log_in(client, "anna", "wrong" * 4).status_code == 401
        answer = log_in(client, "anna", PASSWORD)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= WINDOW_S + 1
        assert not _is_in(client)


def test_guessing_many_names_makes_the_address_wait_and_time_forgives() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for n in range(ADDRESS_FAILURES):
        assert throttle.wait_s("fresh", "10.0.0.1") == 0
        throttle.failed(f"name{n}", "10.0.0.1")
    assert throttle.wait_s("fresh", "10.0.0.1") == WINDOW_S
    assert throttle.wait_s("fresh", "10.0.0.2") == 0
    now[0] = WINDOW_S + 1
    assert throttle.wait_s("fresh", "10.0.0.1") == 0


def test_a_login_form_of_somebody_else_is_refused(console: Served) -> None:
    with console.client() as stranger, console.client() as client:
        token = field_of(stranger.get("/login").text, "token")
        client.get("/login")
        answer = client.post("/login", data={"token": token, "name": "anna", "password": PASSWORD})
        assert answer.status_code == 403
        assert not _is_in(client)
        fresh = field_of(client.get("/login").text, "token")
        data = {"token": fresh, "name": "anna", "password": PASSWORD}
        assert client.post("/login", data=data, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_login_leads_nowhere_else(console: Served, to: str) -> None:
    with console.client() as client:
        form = client.get("/login", params={"next": to}).text
        data = {"token": field_of(form, "token"), "name": "anna", "password": PASSWORD, "next": to}
        assert client.post("/login", data=data).headers["location"] == "/"


def test_a_disabled_account_is_out_at_once_and_stays_out(console: Served) -> None:
    with console.client() as client:
        log_in(client, "anna", PASSWORD)
        disable_account(console.database, "anna", "test")
        assert not _is_in(client)
        assert log_in(client, "anna", PASSWORD).status_code == 401
        disable_account(console.database, "anna", "test", disabled=False)
        assert log_in(client, "anna", PASSWORD).status_code == 303


def test_a_new_password_ends_every_login(console: Served) -> None:
    with console.client() as client:
        log_in(client, "anna", PASSWORD)
        change_password(console.database, "anna", "no hash at all", "test")
        assert not _is_in(client)
        assert log_in(client, "anna", PASSWORD).status_code == 401


def test_a_login_ends_without_requests_and_a_refreshing_list_is_none(make_settings: Make) -> None:
    with served(make_settings(console_idle_s=2.0)) as console, console.client() as client:
        log_in(client, "anna", PASSWORD)
        refreshing = {"X-Refresh": "true"}
        wait_until(lambda: client.get("/system", headers=refreshing).status_code == 303, 60, "the login has ended")
        assert not _is_in(client)


def test_a_login_ends_after_its_longest_time_anyway(make_settings: Make) -> None:
    with served(make_settings(console_idle_s=600.0, console_session_s=2.0)) as console, console.client() as client:
        log_in(client, "anna", PASSWORD)
        wait_until(lambda: not _is_in(client), 60, "the login has ended")


def test_an_old_form_is_refused(console: Served) -> None:
    with console.client() as client:
        token = field_of(client.get("/login").text, "token")
        with time_machine.travel("2100-01-01"):
            data = {"token": token, "name": "anna", "password": PASSWORD}
            assert client.post("/login", data=data).status_code == 403


def test_over_tls_the_cookie_is_bound_to_the_host(make_settings: Make, certificate: Path) -> None:
    tls = {"ssl_certfile": str(certificate), "ssl_keyfile": str(certificate.with_suffix(".key"))}
    with served(make_settings(), **tls) as console, console.client(verify=False) as client:
        answer = log_in(client, "anna", PASSWORD)
        assert _is_in(client)
        assert answer.headers["set-cookie"].startswith("__Host-ecg_session=")
        assert "; secure" in answer.headers["set-cookie"].lower()
        assert answer.headers["strict-transport-security"]


def test_nothing_is_shown_that_cannot_be_written_down(console: Served) -> None:
    record_received(console.database, received(patient_name="Secret^Name"))
    with console.client() as client:
        log_in(client, "anna", PASSWORD)
        with console.database.engine.connect() as connection:
            refuse = "CREATE TRIGGER full BEFORE INSERT ON trail BEGIN SELECT RAISE(ABORT, 'full'); END"
            connection.exec_driver_sql(refuse)
            connection.commit()
        for path in ("/", "/ecg/1", "/ecg/1/header"):
            answer = client.get(path)
            assert answer.status_code >= 500
            assert "Secret" not in answer.text
        assert _is_in(client)  # no patient is shown there
