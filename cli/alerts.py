"""`ecg-node alerts`: what a person has to see, and that one has seen it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cli.common import console, open_records, os_user, out
from core.settings import read_settings

app = typer.Typer(help="What a person has to see: ECGs without an answer, suspected infarctions.", no_args_is_help=True)


@app.callback()
def alerts() -> None:
    """What a person has to see: ECGs without an answer, suspected infarctions, results that are stuck."""


@app.command()
def ls(
    everything: Annotated[bool, typer.Option("--all", help="Acknowledged ones, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most that are shown.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; it holds patient data.")] = False,
) -> None:
    """List alerts that nobody has acknowledged."""
    from records.alerts import list_alerts, list_notifications

    with open_records(read_settings()) as database:
        found = list_alerts(database, open_only=not everything, limit=limit)
        notifications = list_notifications(database, *(one.alert_id for one in found))
    told: dict[int, list[dict[str, str | None]]] = {one.alert_id: [] for one in found}
    for each in notifications:
        told[each.alert_id].append({"receiver": each.channel, "state": each.state, "why": each.last_error})
    if as_json:
        out.print_json(json.dumps([asdict(one) | {"told": told[one.alert_id]} for one in found], default=str))
        return
    table = Table("alert", "raised (UTC)", "about", "what", "told", "acknowledged")
    for one in found:
        about = f"ECG {one.ecg_id}, accession {one.accession_number or '-'}" if one.ecg_id else str(one.destination)
        answered = " (answered by now)" if one.kind == "unanswered" and one.answered else ""
        seen = f"{one.acknowledged_by}: {one.why}" if one.acknowledged_at else ""
        receivers = "\n".join(f"{each['receiver']}: {each['why'] or each['state']}" for each in told[one.alert_id])
        cells = (about, one.text + answered, receivers, seen)
        table.add_row(str(one.alert_id), f"{one.raised_at:%Y-%m-%d %H:%M:%S}", *map(Text, cells))
    out.print(table)


@app.command()
def ack(
    alert_id: Annotated[int, typer.Argument(help="Number of the alert, as `alerts ls` shows it.")],
    why: Annotated[str, typer.Option(help="What was done about it; kept in the trail.")],
) -> None:
    """Say that a person has seen an alert, and what was done."""
    from records.alerts import acknowledge_alert

    with open_records(read_settings()) as database:
        done = acknowledge_alert(database, alert_id, os_user(), why)
    if not done:
        console.print(f"alert {alert_id} is unknown, or acknowledged already: `ecg-node alerts ls --all`")
        raise typer.Exit(1)
    out.print(f"alert {alert_id} is acknowledged")
