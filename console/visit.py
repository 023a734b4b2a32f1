"""What every page gets: who asks, for what, and what the console is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import new as hmac_new
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.looks import Looks
from console.passwords import Passwords
from console.throttle import Throttle
from core.roles import Role
from core.settings import Settings
from records.accounts import Person, SessionLimits
from records.database import Database


@dataclass(frozen=True, slots=True)
class Console:
    """The parts of a running console, made once."""

    settings: Settings
    database: Database
    templates: Environment
    throttle: Throttle
    passwords: Passwords
    looks: Looks
    signing_key: bytes

    @property
    def limits(self) -> SessionLimits:
        return SessionLimits(self.settings.console_idle_s, self.settings.console_session_s)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a person who is logged in; `form` is empty unless something was posted."""

    console: Console
    request: Request
    person: Person
    token: str
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        return self.console.database

    @property
    def settings(self) -> Settings:
        return self.console.settings

    @property
    def by_htmx(self) -> bool:
        return self.request.headers.get("hx-request") == "true"

    @property
    def csrf(self) -> str:
        return csrf_of(self.token)

    def may(self, *roles: str) -> bool:
        return self.person.role in {Role(role) for role in roles}

    def given(self, name: str) -> str:
        """A field of the form or of the query, without white space around it; empty when it is missing."""
        return str(self.form.get(name, self.request.query_params.get(name, ""))).strip()[:256]

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """An HTML page."""
        text = self.console.templates.get_template(template).render(visit=self, settings=self.settings, **values)
        return HTMLResponse(text, status)

    def back_to(self, path: str) -> Response:
        """After a write: the page that shows its effect."""
        return RedirectResponse(path, 303)

    def note_look(self, page: str, *ecgs: int, unless: Sequence[str] = ()) -> None:
        """Record that the person saw data of these patients; raises DatabaseAway, and then nothing is shown."""
        self.console.looks.note(self.token, self.person.name, page, ecgs, unless)


def csrf_of(token: str) -> str:
    """The token that every form of a session carries: only who holds the session's cookie can have been given it."""
    return hmac_new(token.encode(), b"ecg-node csrf", sha256).hexdigest()
