"""The model: its card, what it said by day, and how far physicians agree with it."""

import csv
import io
import threading
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import datetime, timedelta

from starlette.responses import Response, StreamingResponse

from console.visit import Visit
from console.words import local
from core.errors import BadModel
from core.states import EventKind
from core.values import LABELS
from model.card import Card
from model.store import StoredModel, find_exact, read_model, start_folder
from records.clock import database_time
from records.figures import list_day_figures, list_models_in_use, quantile
from records.models import Chosen, ModelChoice, find_chosen
from records.reads import TrainingRow, count_agreement, list_training_rows
from records.shadow import Comparison, compare_shadow
from records.trail import record_event

_DAYS = 14
_ONE = threading.Lock()


def show(visit: Visit) -> Response:
    """Card, days and agreement."""
    chosen, borders = find_chosen(visit.database), _midnights(visit)
    card, text, fault = _card(visit, chosen)
    counted = count_agreement(visit.database)
    return visit.page(
        "model.html",
        title="Model",
        card=card,
        card_text=text,
        fault=fault,
        shadow=chosen.shadow,
        compared=_compared(visit, chosen.shadow, borders[0]),
        used=list_models_in_use(visit.database),
        days=list(reversed(list_day_figures(visit.database, borders))),
        quantile=quantile,
        labels=LABELS,
        matrix={(one.model_label, one.final_label): one.count for one in counted},
        read=sum(one.count for one in counted),
        agreed=sum(one.count for one in counted if one.model_label == one.final_label),
    )


def _compared(visit: Visit, shadow: ModelChoice | None, since: datetime) -> Comparison | None:
    return compare_shadow(visit.database, shadow.card_sha256, since, limit=0) if shadow else None


def _midnights(visit: Visit) -> list[datetime]:
    with visit.database.reading() as session:
        now = local(database_time(session), visit.settings.time_zone)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    # Wall-clock days: one of them has 23 or 25 hours where clocks are put forward or back
    return [today + timedelta(days=n) for n in range(1 - _DAYS, 2)]


def _card(visit: Visit, chosen: Chosen) -> tuple[Card | None, str, str]:
    """The card of the model in service with its text; or why it cannot be shown."""
    try:
        with _ONE:
            stored = _find_once(visit, chosen.service)
    except (BadModel, OSError) as error:
        return None, "", str(error)
    for path in (stored.folder / "CARD.md", stored.folder.parent / "CARD.md"):
        if path.exists():
            return stored.card, path.read_text(encoding="utf-8"), ""
    return stored.card, "", ""


def _find_once(visit: Visit, choice: ModelChoice | None) -> StoredModel:
    """Looked for again when another model is released: weights are hashed, which takes a while."""
    key = choice.card_sha256 if choice else ""
    kept: dict[str, StoredModel] = visit.request.app.state.__dict__.setdefault("models", {})
    if key not in kept:
        settings = visit.settings
        found = find_exact(settings, choice.weights_sha256, key) if choice else read_model(start_folder(settings))
        kept.clear()
        kept[key] = found
    return kept[key]


def export_manifest(visit: Visit) -> Response:
    """Pictures with both opinions, for training; no patient, study, person or time."""
    record_event(visit.database, EventKind.READS_EXPORTED, actor=visit.person.name)
    headers = {"Content-Disposition": 'attachment; filename="training-manifest.csv"'}
    return StreamingResponse(_manifest(visit), media_type="text/csv", headers=headers)


def _manifest(visit: Visit) -> Iterator[str]:
    names = [field.name for field in fields(TrainingRow)]
    yield ",".join(names) + "\r\n"
    for row in list_training_rows(visit.database):
        line = io.StringIO()
        csv.writer(line).writerow([asdict(row)[name] for name in names])
        yield line.getvalue()
