"""`ecg-node deliveries`, `pause` and `resume`: reports on their way, and what a person does about them."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli.common import open_records, os_user, out
from core.errors import BadSettings
from core.settings import Settings, read_settings
from core.states import DeliveryState

if TYPE_CHECKING:
    from records.database import Database
    from records.destinations import DestinationSummary
    from records.tables import Delivery

app = typer.Typer(help="Reports on their way to a PACS.", no_args_is_help=True)
Why = Annotated[str, typer.Option("--why", help="The reason; it goes into the trail with your user name.")]
Numbers = Annotated[list[int], typer.Argument(help="Numbers of deliveries, as `ls` shows them.")]
Destination = Annotated[str, typer.Argument(help="Name of the destination in the settings.")]


@app.callback()
def deliveries() -> None:
    """Reports on their way to a PACS."""


def add_commands(main: typer.Typer) -> None:
    """Add `pause` and `resume`."""
    main.command()(pause)
    main.command()(resume)


@app.command()
def ls(
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    destination: Annotated[str | None, typer.Option(help="Only those to this destination.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most of them, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show destinations with their queues, and deliveries, newest first."""
    from records.deliveries import list_deliveries
    from records.destinations import list_destinations

    settings = read_settings()
    with open_records(settings) as database:
        places = list_destinations(database, settings.destinations)
        rows = list_deliveries(database, state, destination, limit)
    if destination:
        places = [place for place in places if place.name == destination]
    if as_json:
        found = {"destinations": [_place(place) for place in places], "deliveries": [_delivery(row) for row in rows]}
        out.print_json(json.dumps(found))
        return
    _print_places(places)
    _print_deliveries(rows)


def _place(place: "DestinationSummary") -> dict[str, Any]:
    return asdict(place) | {"retry_at": place.retry_at.isoformat() if place.retry_at else None}


def _delivery(row: "Delivery") -> dict[str, Any]:
    times = {name: getattr(row, name) for name in ("created_at", "not_before", "sent_at", "ended_at")}
    return {
        "delivery": row.id,
        "ecg": row.ecg_id,
        "job": row.job_id,
        "destination": row.destination,
        "kind": row.kind,
        "frame": row.frame,
        "state": row.state,
        "attempts": row.attempt,
        "last_status": f"{row.last_status:#06x}" if row.last_status is not None else None,
        "last_error": row.last_error,
        **{name: time.isoformat() if time else None for name, time in times.items()},
    }


def _print_places(places: list["DestinationSummary"]) -> None:
    table = Table("destination", "state", "waiting", "failed", "delivered", "dropped", "last error")
    for place in places:
        said = "[yellow]paused[/yellow]" if place.paused else "open"
        if place.failures and not place.paused:
            said = f"[red]away, {place.failures} tries[/red]"
        there = place.counts.get(DeliveryState.SENT, 0) + place.counts.get(DeliveryState.COMMITTED, 0)
        numbers = [place.counts.get(DeliveryState.PREPARED, 0), place.counts.get(DeliveryState.FAILED, 0), there]
        numbers.append(place.counts.get(DeliveryState.DROPPED, 0))
        table.add_row(place.name, said, *map(str, numbers), place.last_error or "")
    out.print(table)


def _print_deliveries(rows: list["Delivery"]) -> None:
    table = Table("delivery", "ECG", "to", "what", "state", "tries", "answer", "next try or end (UTC)", "last error")
    colours = {"prepared": "yellow", "sent": "green", "committed": "green", "failed": "red", "dropped": "dim"}
    for row in rows:
        colour = colours[row.state]
        when = row.not_before if row.state == DeliveryState.PREPARED else row.ended_at or row.sent_at
        table.add_row(
            str(row.id),
            str(row.ecg_id),
            row.destination,
            row.kind,
            f"[{colour}]{row.state}[/{colour}]",
            str(row.attempt),
            f"{row.last_status:04X}" if row.last_status is not None else "",
            f"{when:%Y-%m-%d %H:%M:%S}" if when else "",
            row.last_error or "",
        )
    out.print(table)


@app.command()
def retry(
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of deliveries, as `ls` shows them.")] = None,
    destination: Annotated[str | None, typer.Option(help="Every failed delivery to this destination.")] = None,
) -> None:
    """Try deliveries again at once that failed, were dropped or wait."""
    from records.deliveries import list_deliveries, retry_delivery

    settings = read_settings()
    if bool(numbers) == bool(destination):
        raise BadSettings("give numbers of deliveries, or --destination NAME for all that failed there")
    with open_records(settings) as database:
        chosen = numbers or []
        if destination:
            _need_known(destination, settings, database)
            failed = list_deliveries(database, DeliveryState.FAILED, destination, limit=1_000_000)
            chosen = [row.id for row in reversed(failed)]
        refused = [number for number in chosen if not retry_delivery(database, number, os_user())]
    _tell(chosen, refused, "will be tried again", "is not there, was accepted already, or its files were deleted")


@app.command()
def drop(numbers: Numbers, why: Why) -> None:
    """Give deliveries up that wait or failed, with a reason; `retry` takes them up again."""
    from records.deliveries import drop_delivery

    _need_reason(why)
    with open_records(read_settings()) as database:
        refused = [number for number in numbers if not drop_delivery(database, number, os_user(), why)]
    _tell(numbers, refused, "dropped", "is not there, or has ended already")


def _tell(chosen: list[int], refused: list[int], done: str, not_done: str) -> None:
    for number in chosen:
        said = f"[red]{not_done}[/red]" if number in refused else done
        out.print(f"delivery {number}: {said}", highlight=False)
    if not chosen:
        out.print("nothing to do", highlight=False)
    if refused:
        raise typer.Exit(1)


def _need_reason(why: str) -> None:
    if not why.strip():
        raise BadSettings("--why: say the reason; whoever reads the trail later will ask for it")


def _need_known(name: str, settings: Settings, database: "Database") -> None:
    from records.destinations import list_destinations

    known = [place.name for place in list_destinations(database, settings.destinations)]
    if name not in known:
        raise BadSettings(f"{name}: no such destination; there are: {', '.join(known) or 'none'}")


def pause(destination: Destination, why: Why) -> None:
    """Send nothing to a destination until `resume`; deliveries wait and none is lost."""
    from records.destinations import pause_destination

    settings = read_settings()
    _need_reason(why)
    with open_records(settings) as database:
        _need_known(destination, settings, database)
        changed = pause_destination(database, destination, os_user(), why)
    out.print(f"{destination}: {'paused' if changed else 'was paused already'}", highlight=False)


def resume(
    destination: Destination,
    why: Annotated[str, typer.Option("--why", help="The reason, for the trail.")] = "",
) -> None:
    """Send to a paused destination again, at once."""
    from records.destinations import resume_destination

    settings = read_settings()
    with open_records(settings) as database:
        _need_known(destination, settings, database)
        changed = resume_destination(database, destination, os_user(), why)
    out.print(f"{destination}: {'resumed' if changed else 'was not paused'}", highlight=False)
