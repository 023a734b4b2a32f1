"""The one door: no page is reached but through it. Session, role and CSRF token are looked at here."""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import quote

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from console.visit import Console, Visit, csrf_of
from core.errors import Rejected, Unavailable
from core.roles import EVERYBODY, Role
from records.accounts import find_person

_FIELDS = 100
_log = structlog.get_logger(__name__)
Handler = Callable[[Visit], Response]
OpenHandler = Callable[[Console, Request, Mapping[str, str]], Response]


@dataclass(frozen=True, slots=True)
class Page:
    """Something that can be asked for; `roles` may, nobody else. `whole` pages lead to the login, parts say 401."""

    path: str
    handler: Handler
    roles: frozenset[Role] = EVERYBODY
    method: str = "GET"
    whole: bool = True

    def route(self) -> Route:
        return Route(self.path, _guarded(self), methods=[self.method], name=f"{self.method} {self.path}")


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Something that may be asked for without a login; it must never show patient data."""

    path: str
    handler: OpenHandler
    method: str = "GET"

    def route(self) -> Route:
        async def answer(request: Request) -> Response:
            async def act() -> Response:
                form = await _form(request)
                return await run_in_threadpool(self.handler, request.app.state.console, request, form)

            return await _at_the_edge(request, act)

        return Route(self.path, answer, methods=[self.method], name=f"{self.method} {self.path}")


def cookie_name(request: Request) -> str:
    """`__Host-` binds the cookie to this very host, where the browser allows it: over TLS. RFC 6265bis 4.1.3.2."""
    return "__Host-ecg_session" if request.url.scheme == "https" else "ecg_session"


def _guarded(page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        async def act() -> Response:
            form = await _form(request)
            return await run_in_threadpool(_answer, page, request, form)

        return await _at_the_edge(request, act)

    return answer


async def _form(request: Request) -> Mapping[str, str]:
    if request.method != "POST":
        return {}
    form: FormData = await request.form(max_files=0, max_fields=_FIELDS)
    return {key: value for key, value in form.items() if isinstance(value, str)}


def _answer(page: Page, request: Request, form: Mapping[str, str]) -> Response:
    console: Console = request.app.state.console
    token = request.cookies.get(cookie_name(request), "")
    refreshing = request.headers.get("x-refresh") == "true"
    person = find_person(console.database, token, console.limits, stay=not refreshing) if token else None
    if person is None:
        return _to_login(page, request)
    if request.method == "POST" and not _is_ours(request, token, form):
        raise HTTPException(403, "The form was not made by this session, or is old. Go back, reload and try again.")
    if person.role not in page.roles:
        raise HTTPException(403, f"This needs the role {' or '.join(sorted(page.roles))}; yours is {person.role}.")
    return page.handler(Visit(console, request, person, token, form))


def _to_login(page: Page, request: Request) -> Response:
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    if request.method == "GET" and page.whole:
        return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
    raise HTTPException(401, "Log in first.")


def _is_ours(request: Request, token: str, form: Mapping[str, str]) -> bool:
    given = form.get("csrf", "")
    return came_from_here(request) and given.isascii() and compare_digest(given, csrf_of(token))


def came_from_here(request: Request) -> bool:
    """Whether a page of this console made the request, as far as the browser says. W3C Fetch Metadata."""
    return request.headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}


async def _at_the_edge(request: Request, act: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await act()
    except HTTPException as error:
        return say(request, error.status_code, error.detail)
    except Rejected as error:
        return say(request, 422, str(error))
    except Unavailable as error:
        _log.warning("console_cannot_answer", path=request.scope["path"], why=str(error))
        return say(request, 503, f"{error} Nothing was changed; try again in a moment.")
    except Exception as error:  # noqa: BLE001 - the process's edge: a message may hold patient data, its place does not
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno} {last.name}"
        _log.error("console_failed", route=_route(request), what=type(error).__name__, where=where)
        return say(request, 500, "This is a defect of the console. The log says where; no ECG is touched by it.")


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", ""))


def say(request: Request, status: int, text: str) -> Response:
    """A page that says what went wrong and what to do."""
    console: Console = request.app.state.console
    page = console.templates.get_template("error.html").render(status=status, text=text, visit=None)
    return HTMLResponse(page, status)
