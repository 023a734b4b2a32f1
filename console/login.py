"""Logging in and out."""

import secrets
from collections.abc import Mapping
from hmac import compare_digest

import structlog
from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.access import came_from_here, cookie_name
from console.visit import Console, Visit
from core.states import EventKind
from records.accounts import end_session, find_account, open_session, rehash_password
from records.trail import record_event

_FORM_S = 3600
_LONGEST = 256
_log = structlog.get_logger(__name__)


def show_login(console: Console, request: Request, _form: Mapping[str, str]) -> Response:
    """The form; its token is bound to a cookie, so that nobody can log a person in as somebody else."""
    return _page(console, request, "", 200)


def _page(console: Console, request: Request, fault: str, status: int, name: str = "") -> Response:
    nonce = secrets.token_urlsafe(16)
    values = {
        "visit": None,
        "fault": fault,
        "name": name,
        "token": TimestampSigner(console.signing_key).sign(nonce).decode(),
        "next": _safe_next(request.query_params.get("next", "/")),
        "demo": console.settings.demo,
    }
    response = HTMLResponse(console.templates.get_template("login.html").render(values), status)
    _set_cookie(response, request, f"{cookie_name(request)}_login", nonce)
    return response


def _set_cookie(response: Response, request: Request, name: str, value: str) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, path="/", httponly=True, samesite="strict", secure=secure)


def _safe_next(given: str) -> str:
    """A path of ours, and nothing that a browser could take for another host."""
    safe = given.startswith("/") and not given.startswith("//") and "\\" not in given and given.isprintable()
    return given if safe else "/"


def log_in(console: Console, request: Request, form: Mapping[str, str]) -> Response:
    """Take a name and a password; the answer does not say which of the two was wrong."""
    name, password = form.get("name", "").strip().lower()[:64], form.get("password", "")[:_LONGEST]
    if not _is_ours(console, request, form):
        return _page(console, request, "The form was old. Please try again.", 403, name)
    address = request.client.host if request.client else ""
    wait_s = console.throttle.wait_s(name, address)
    if wait_s > 0:
        response = _page(console, request, f"Too many tries. Wait {wait_s / 60:.0f} min and try again.", 429, name)
        response.headers["Retry-After"] = str(int(wait_s) + 1)
        return response
    account = find_account(console.database, name)
    kept = account.password_hash if account is not None and not account.disabled else None
    if not console.passwords.is_right(kept, password):
        return _refuse(console, request, name, address, known=account is not None)
    if kept is not None and console.passwords.is_old(kept):
        rehash_password(console.database, name, console.passwords.hash(password))
    return _let_in(console, request, name, address, form.get("next", "/"))


def _is_ours(console: Console, request: Request, form: Mapping[str, str]) -> bool:
    nonce = request.cookies.get(f"{cookie_name(request)}_login", "")
    try:
        signed = TimestampSigner(console.signing_key).unsign(form.get("token", ""), max_age=_FORM_S)
    except BadSignature:
        return False
    return bool(nonce) and came_from_here(request) and compare_digest(signed, nonce.encode())


def _refuse(console: Console, request: Request, name: str, address: str, known: bool) -> Response:
    console.throttle.failed(name, address)
    # A name that there is not may be a password that slipped into the wrong field: it is not written down
    actor = name if known else "unknown account"
    record_event(console.database, EventKind.LOGIN_FAILED, actor=actor, peer_address=address)
    _log.warning("login_failed", account=actor, address=address)
    return _page(console, request, "Name or password is wrong.", 401, name)


def _let_in(console: Console, request: Request, name: str, address: str, to: str) -> Response:
    console.throttle.succeeded(name, address)
    token = secrets.token_urlsafe(32)
    open_session(console.database, name, token, console.limits, address)
    response = RedirectResponse(_safe_next(to), 303)
    _set_cookie(response, request, cookie_name(request), token)
    response.delete_cookie(f"{cookie_name(request)}_login", path="/", secure=request.url.scheme == "https")
    return response


def log_out(visit: Visit) -> Response:
    """End the session, here and in the browser."""
    end_session(visit.database, visit.token)
    response = RedirectResponse("/login", 303)
    secure = visit.request.url.scheme == "https"
    response.delete_cookie(cookie_name(visit.request), path="/", httponly=True, samesite="strict", secure=secure)
    response.headers["Clear-Site-Data"] = '"cache"'
    return response
