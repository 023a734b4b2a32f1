"""`ecg-node audit`: the trail."""

import typer

from cli.common import open_records, out
from core.settings import read_settings

app = typer.Typer(help="The append-only history of every ECG.", no_args_is_help=True)


@app.callback()
def audit() -> None:
    """The append-only history of every ECG."""


@app.command()
def verify() -> None:
    """Recompute the whole hash chain; the first entry that was changed, removed or moved is named."""
    from records.audit import verify_trail

    with open_records(read_settings()) as database:
        verdict = verify_trail(database)
    if verdict.fault:
        out.print(f"[red]BROKEN[/red] after {verdict.entries} good entries: {verdict.fault}", highlight=False)
        raise typer.Exit(1)
    out.print(f"[green]good[/green]: {verdict.entries} entries, none changed, removed or moved", highlight=False)
