"""The model: its card, what it said by day, and how far physicians agree with it."""

import csv
import io
import threading
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from starlette.responses import Response, StreamingResponse

from console.visit import Visit
from console.words import local
from core.errors import BadModel
from core.states import EventKind
from core.values import LABELS
from model.card import Card, read_card
from model.store import find_exact, start_folder
from records.clock import database_time
from records.figures import list_day_figures, list_models_in_use, quantile
from records.models import find_chosen
from records.reads import TrainingRow, count_agreement, list_training_rows
from records.trail import record_event

_DAYS = 14
_ONE = threading.Lock()


def show(visit: Visit) -> Response:
    """Card, days and agreement."""
    card, text, fault = _card(visit)
    counted = count_agreement(visit.database)
    return visit.page(
        "model.html",
        title="Model",
        card=card,
        card_text=text,
        fault=fault,
        used=list_models_in_use(visit.database),
        days=list(reversed(list_day_figures(visit.database, _midnights(visit)))),
        quantile=quantile,
        labels=LABELS,
        matrix={(one.model_label, one.final_label): one.count for one in counted},
        read=sum(one.count for one in counted),
        agreed=sum(one.count for one in counted if one.model_label == one.final_label),
    )


def _midnights(visit: Visit) -> list[datetime]:
    with visit.database.reading() as session:
        now = local(database_time(session), visit.settings.time_zone)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    # Wall-clock days: one of them has 23 or 25 hours where clocks are put forward or back
    return [today + timedelta(days=n) for n in range(1 - _DAYS, 2)]


def _card(visit: Visit) -> tuple[Card | None, str, str]:
    try:
        folder = _folder_in_service(visit)
        with _ONE:
            card = _read_card_once(folder, (folder / "card.json").stat().st_mtime_ns)
    except (BadModel, OSError) as error:
        return None, "", str(error)
    for path in (folder / "CARD.md", folder.parent / "CARD.md"):
        if path.exists():
            return card, path.read_text(encoding="utf-8"), ""
    return card, "", ""


def _folder_in_service(visit: Visit) -> Path:
    chosen = find_chosen(visit.database).service
    if chosen is None:
        return start_folder(visit.settings)
    return find_exact(visit.settings, chosen.weights_sha256, chosen.card_sha256).folder


@cache
def _read_card_once(folder: Path, _changed_ns: int) -> Card:
    return read_card(folder)


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
