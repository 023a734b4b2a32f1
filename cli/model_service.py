"""Commands of `ecg-node model` that choose which model judges: release, rollback, shadow, compare, ls."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from cli.common import console, open_records, os_user, out
from core.settings import Settings, read_settings

if TYPE_CHECKING:
    from model.store import StoredModel
    from records.models import Chosen, ModelChoice
    from records.shadow import Comparison

Sha = Annotated[str, typer.Argument(help="sha256 of its weights, or the beginning; `model ls` shows them.")]
Why = Annotated[str, typer.Option(help="The reason; kept in the trail.")]
_PERCENT = "{:.1f} %"


def add_commands(app: typer.Typer) -> None:
    """Add `release`, `rollback`, `shadow`, `compare` and `ls`."""
    for command in (release, rollback, shadow, compare, ls):
        app.command()(command)


def release(sha256: Sha, why: Why) -> None:
    """Put a model into service: workers take it before their next batch, with its thresholds."""
    from model.store import read_model, start_folder
    from records.models import record_release
    from worker.models import choice_of

    settings = read_settings()
    stored = _checked(settings, sha256)
    start = choice_of(read_model(start_folder(settings)))
    with open_records(settings) as database:
        before = record_release(database, choice_of(stored), start, os_user(), why)
    out.print(f"in service: {_named(choice_of(stored))}; before: {_named(before)}", highlight=False)


def rollback(why: Why) -> None:
    """Put the model back into service that served before the present one."""
    from model.store import find_exact
    from records.models import list_service_stack, record_rollback

    settings = read_settings()
    with open_records(settings) as database:
        stack = list_service_stack(database)
        if len(stack) > 1:
            find_exact(settings, stack[-2].weights_sha256, stack[-2].card_sha256)
        now = record_rollback(database, os_user(), why)
    out.print(f"in service again: {_named(now)}", highlight=False)


def shadow(
    sha256: Annotated[str, typer.Argument(help="sha256 of its weights, or the beginning; `off` ends the shadow.")],
    why: Why,
) -> None:
    """Let a model judge beside the one in service: recorded, never reported. `off` ends it."""
    from records.models import record_shadow
    from worker.models import choice_of

    settings = read_settings()
    choice = None if sha256 == "off" else choice_of(_checked(settings, sha256))
    with open_records(settings) as database:
        record_shadow(database, choice, os_user(), why)
    out.print(f"in shadow: {_named(choice) if choice else 'none'}", highlight=False)


def compare(
    sha256: Annotated[str, typer.Argument(help="The model in shadow; empty: the present one.")] = "",
    since: Annotated[datetime | None, typer.Option(help="What was judged from this time on.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most ECGs that are listed.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show where the model in shadow differs from the one in service."""
    from records.shadow import compare_shadow

    settings = read_settings()
    with open_records(settings) as database:
        card_sha256 = _shadow_card(settings, sha256, _chosen(settings))
        found = compare_shadow(database, card_sha256, in_zone(since, settings), limit)
    if as_json:
        matrix = [{"in_service": one, "in_shadow": other, "count": n} for (one, other), n in found.confusion.items()]
        out.print_json(json.dumps(asdict(found) | {"confusion": matrix}, default=str))
    else:
        _print_comparison(found)


def _shadow_card(settings: Settings, sha256: str, chosen: "Chosen") -> str:
    from model.store import find_model

    if sha256:
        return find_model(settings, sha256).card_sha256
    if chosen.shadow is None:
        console.print("no model is in shadow; name one, or start it: `ecg-node model shadow SHA --why ...`")
        raise typer.Exit(1)
    return chosen.shadow.card_sha256


def _print_comparison(found: "Comparison") -> None:
    out.print(
        f"{found.compared} pictures judged by both, {found.same} alike, {found.compared - found.same} not; "
        f"largest difference in a probability {found.largest_gap:.4f}; the shadow broke {found.broke} times",
        highlight=False,
    )
    matrix = Table("in service", "in shadow", "pictures")
    for (one, other), count in sorted(found.confusion.items()):
        matrix.add_row(one, other, str(count))
    out.print(matrix)
    if not found.differences:
        return
    table = Table("ECG", "SOP Instance UID", "frame", "in service", "in shadow", "p(MI) service", "p(MI) shadow")
    for one in found.differences:
        sure = [
            _PERCENT.format(100 * p) if p is not None else "-"
            for p in (one.infarction_in_service, one.infarction_in_shadow)
        ]
        table.add_row(str(one.ecg_id), one.sop_instance_uid, str(one.frame), one.in_service, one.in_shadow, *sure)
    out.print(table)


def ls(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List the models on this machine, which is in service and in shadow, and the history."""
    from core.errors import BadModel
    from model.store import model_folders, read_model
    from records.models import list_releases

    settings = read_settings()
    with open_records(settings) as database:
        chosen, history = _chosen(settings), list_releases(database)
    models = []
    for folder in model_folders(settings):
        try:
            models.append(_described(read_model(folder), chosen))
        except BadModel as error:
            models.append({"folder": str(folder), "fault": str(error)})
    changes = [
        {name: getattr(row, name) for name in ("at", "role", "action", "weights_sha256", "version", "actor", "why")}
        for row in history
    ]
    if as_json:
        out.print_json(json.dumps({"models": models, "history": changes}, default=str))
        return
    table = Table("sha256", "version", "thresholds", "is", "folder")
    for one in models:
        sha256 = str(one.get("weights_sha256", ""))[:12]
        words = str(one.get("thresholds", "")), str(one.get("fault") or ", ".join(one.get("is", [])))
        table.add_row(sha256, str(one.get("version", "")), *words, str(one["folder"]))
    out.print(table)
    past = Table("at (UTC)", "what", "sha256", "version", "by", "why")
    for row in history:
        at, what = f"{row.at:%Y-%m-%d %H:%M}", f"{row.role}: {row.action}"
        past.add_row(at, what, row.weights_sha256[:12], row.version, row.actor, row.why)
    out.print(past)


def _described(stored: "StoredModel", chosen: "Chosen") -> dict[str, object]:
    from worker.models import choice_of

    choice = choice_of(stored)
    roles = {"in service": chosen.service, "in shadow": chosen.shadow}
    return {
        "weights_sha256": choice.weights_sha256,
        "version": choice.version,
        "thresholds": dict(choice.thresholds),
        "is": [role for role, holds in roles.items() if holds == choice],
        "folder": str(stored.folder),
    }


def _chosen(settings: Settings) -> "Chosen":
    """The models that hold; before the first release the one to start with is in service."""
    from model.store import read_model, start_folder
    from records.models import Chosen, find_chosen
    from worker.models import choice_of

    with open_records(settings) as database:
        chosen = find_chosen(database)
    return Chosen(chosen.service or choice_of(read_model(start_folder(settings))), chosen.shadow)


def in_service(settings: Settings) -> "ModelChoice":
    """The model in service."""
    choice = _chosen(settings).service
    assert choice is not None
    return choice


def _checked(settings: Settings, sha256: str) -> "StoredModel":
    """A model that was loaded here once and agrees with its golden outputs. Raises BadModel."""
    from model.classifier import Classifier
    from model.store import find_model

    stored = find_model(settings, sha256)
    console.print(f"loading {stored.folder} and comparing it with its golden outputs ...", highlight=False)
    Classifier.load(stored.folder, threads=settings.worker_threads)
    return stored


def in_zone(at: datetime | None, settings: Settings) -> datetime | None:
    """A time that a person wrote, in the site's zone."""
    return at.replace(tzinfo=ZoneInfo(settings.time_zone)) if at else None


def _named(choice: "ModelChoice") -> str:
    return f"{choice.version} (sha256 {choice.weights_sha256[:12]})"
