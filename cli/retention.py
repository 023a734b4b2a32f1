"""`ecg-node retention`: deletes files that the site's rule lets go."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from cli.common import open_records, os_user, out
from core.errors import Rejected
from core.settings import read_settings


def add_commands(app: typer.Typer) -> None:
    """Add `retention`."""
    app.command()(retention)


def retention(
    delete: Annotated[bool, typer.Option("--delete", help="Delete. Without it nothing is changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Delete received files and results of ECGs that are answered, delivered and old; rows and trail stay.

    Nothing that is unanswered, failed or undelivered is ever deleted, and nothing at all while retention_days is 0.
    """
    from records.retention import count_kept
    from worker.retention import plan_retention, rule_of, run_retention

    settings = read_settings()
    if not settings.retention_days:
        raise Rejected("retention_days is 0: files are kept for ever; set it, and retention_rule, to the site's rule")
    with open_records(settings) as database:
        freed = run_retention(settings, database, os_user()) if delete else plan_retention(settings, database)
        kept = count_kept(database, rule_of(settings))
    if as_json:
        found = {"deleted": delete, **asdict(freed), "kept": kept.all - (0 if delete else freed.ecgs)}
        out.print_json(json.dumps(found | {"old_but_needed": kept.old_but_needed}))
        return
    did = "deleted" if delete else "would be deleted"
    rule = f"{settings.retention_rule}, {settings.retention_days} days after the last change"
    out.print(f"rule: {rule}\n{did}: {freed.ecgs} ECGs, {freed.files} files, {freed.size_bytes / 1e6:.1f} MB")
    out.print(f"old, but needed: {kept.old_but_needed} ECGs (unanswered, failed, in conflict, or not delivered by now)")
    if not delete:
        out.print("nothing was changed; `ecg-node retention --delete` does it")
