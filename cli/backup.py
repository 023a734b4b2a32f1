"""`ecg-node backup` and `ecg-node restore`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.common import open_records, os_user, out
from core.settings import read_settings

Folder = Annotated[Path, typer.Argument(help="Folder of backups, on another disk or machine. It holds patient data.")]


def add_commands(app: typer.Typer) -> None:
    """Add `backup` and `restore`."""
    app.command()(backup)
    app.command()(restore)


def backup(
    folder: Folder,
    verify: Annotated[bool, typer.Option("--verify", help="Take none: read the newest one and hold it whole.")] = False,
    keep: Annotated[int, typer.Option(min=0, help="Keep only the newest so many backups; 0: all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Back up database, keys, received files and results while the node runs; files are copied once for all backups."""
    from worker.backup import take_backup
    from worker.backup_store import choose_backup, verify_backup

    if verify:
        verdict = verify_backup(folder, choose_backup(folder, None))
        if as_json:
            _print_json(verdict)
        elif not verdict.faults:
            out.print(f"{verdict.name}: whole, {verdict.files} files read", highlight=False)
        _end(verdict.faults, as_json)
        return
    settings = read_settings()
    with open_records(settings) as database:
        taken = take_backup(settings, database, folder, os_user(), keep)
    if as_json:
        _print_json(taken)
    else:
        copied = f"{taken.copied} new ({taken.copied_bytes / 1e6:.1f} MB)"
        out.print(f"{taken.name}: {taken.ecgs} ECGs, {taken.files} files, {copied}", highlight=False)
    _end([f"{path} is gone from the node or was changed there: not in the backup" for path in taken.missing], as_json)


def restore(
    folder: Folder,
    name: Annotated[str | None, typer.Option("--backup", help="Name of the backup; default: the newest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring a backup back into an empty data folder and an empty database; refuses a damaged one and a full target."""
    from worker.backup_store import choose_backup
    from worker.restore import restore_backup

    settings = read_settings()
    restored = restore_backup(settings, folder, choose_backup(folder, name), os_user())
    if as_json:
        _print_json(restored)
        return
    out.print(f"{restored.name}: {restored.ecgs} ECGs, {restored.files} files; the trail holds", highlight=False)
    for path in restored.missing:
        out.print(f"[yellow]{path} was not in the backup[/yellow]", highlight=False)


def _print_json(found: Any) -> None:
    out.print_json(json.dumps(asdict(found)))


def _end(faults: tuple[str, ...] | list[str], as_json: bool) -> None:
    for fault in [] if as_json else faults:
        out.print(f"[red]{fault}[/red]", highlight=False, soft_wrap=True)
    if faults:
        raise typer.Exit(1)
