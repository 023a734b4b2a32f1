"""The console as an ASGI application: which pages there are, and who may see them."""

from hashlib import sha256
from hmac import new as hmac_new
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from console import alerts, audit, deliveries, ecg, health, login, metrics, model, system, words, worklist
from console.access import OpenPage, Page, say
from console.headers import Headers, ShortBodies
from console.looks import Looks
from console.passwords import Passwords
from console.throttle import Throttle
from console.visit import Console
from core.roles import ADMINISTRATORS, READERS
from core.settings import Settings
from core.version import code_version
from records.database import Database

HERE = Path(__file__).resolve().parent
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PAGES: tuple[Page | OpenPage, ...] = (
    OpenPage("/login", login.show_login),
    OpenPage("/login", login.log_in, method="POST"),
    OpenPage("/healthz", health.show_health),
    OpenPage("/readyz", health.show_readiness),
    OpenPage("/metrics", metrics.show_metrics),
    Page("/logout", login.log_out, method="POST"),
    Page("/", worklist.show),
    Page("/worklist", worklist.show_filtered, method="POST"),
    Page("/ecg/{ecg_id:int}", ecg.show),
    Page("/ecg/{ecg_id:int}/header", ecg.show_header, whole=False),
    Page("/ecg/{ecg_id:int}/report/{report_id:int}", ecg.show_report, whole=False),
    Page("/ecg/{ecg_id:int}/thumbnail", ecg.send_thumbnail, whole=False),
    Page("/ecg/{ecg_id:int}/job/{job_id:int}/picture/{frame:int}", ecg.send_picture, whole=False),
    Page("/ecg/{ecg_id:int}/job/{job_id:int}/heat/{frame:int}", ecg.send_heat, whole=False),
    Page("/ecg/{ecg_id:int}/read", ecg.record_final_read, READERS, method="POST"),
    Page("/alerts", alerts.show),
    Page("/alerts/{alert_id:int}/acknowledge", alerts.acknowledge, READERS | ADMINISTRATORS, method="POST"),
    Page("/deliveries", deliveries.show),
    Page("/destinations/{name}/pause", deliveries.pause, ADMINISTRATORS, method="POST"),
    Page("/destinations/{name}/resume", deliveries.resume, ADMINISTRATORS, method="POST"),
    Page("/deliveries/{delivery_id:int}/retry", deliveries.retry, ADMINISTRATORS, method="POST"),
    Page("/deliveries/{delivery_id:int}/drop", deliveries.drop, ADMINISTRATORS, method="POST"),
    Page("/audit", audit.show, ADMINISTRATORS),
    Page("/audit/verify", audit.verify, ADMINISTRATORS, method="POST"),
    Page("/audit/export.csv", audit.export_csv, ADMINISTRATORS, method="POST"),
    Page("/audit/export.jsonl", audit.export_jsonl, ADMINISTRATORS, method="POST"),
    Page("/model", model.show),
    Page("/model/training-manifest.csv", model.export_manifest, ADMINISTRATORS, method="POST"),
    Page("/system", system.show),
)


class _Static(StaticFiles):
    """Files of ours, which a browser may keep for an hour."""

    def file_response(self, *given: object, **named: object) -> Response:
        response = super().file_response(*given, **named)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


def build_app(settings: Settings, database: Database) -> Starlette:
    """The application; the database is open and has the schema that this code knows."""
    routes: list[BaseRoute] = [page.route() for page in PAGES]
    routes.append(Mount("/static", _Static(directory=HERE / "static"), name="static"))
    middleware = [Middleware(Headers), Middleware(ShortBodies)]
    if settings.console_host in LOOPBACK and not settings.console_trusted_proxies:
        # A page of another site that has its name resolved to loopback must not read from us
        middleware.insert(1, Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"]))
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _say})
    app.state.console = Console(
        settings=settings,
        database=database,
        templates=_templates(settings),
        throttle=Throttle(),
        passwords=Passwords(),
        looks=Looks(database),
        signing_key=hmac_new(database.trail_key, b"ecg-node console login form", sha256).digest(),
    )
    return app


def _say(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: "There is no such page.", 405: "This cannot be done here."}
    response = say(request, error.status_code, texts.get(error.status_code, error.detail))
    response.headers.update(error.headers or {})
    return response


def _templates(settings: Settings) -> Environment:
    templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    templates.filters.update(
        time=lambda at, form="%Y-%m-%d %H:%M:%S": words.time_text(at, settings.time_zone, form),
        utc=words.utc_text,
        span=words.span_text,
        percent=words.percent,
        person=words.name_text,
        clean=words.clean,
        dicom_time=words.dicom_time_text,
        reason=words.reason_text,
        status=words.status_text,
        size=words.bytes_text,
    )
    templates.globals.update(
        job_word=words.job_word,
        delivery_word=words.delivery_word,
        label_word=words.label_word,
        meanings=words.MEANINGS,
        not_verified=words.NOT_VERIFIED,
        zone=settings.time_zone,
        installation=settings.installation,
        demo_mode=settings.demo,
        version=code_version(),
    )
    return templates
