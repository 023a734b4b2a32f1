"""`ecg-node`: parses, starts processes, prints. Everything heavy is imported inside the command that needs it."""

import sys

import typer

from cli import (
    alerts,
    backup,
    check,
    deliveries,
    demo,
    doctor,
    ecgs,
    health,
    inspection,
    model,
    processes,
    reanalyse,
    retention,
    trail,
    users,
)
from cli.common import console
from core.errors import EcgNodeError

app = typer.Typer(
    name="ecg-node",
    help="Receives ECGs over DICOM, classifies them and answers with Structured Reports and heat maps. "
    "Decision support for research: no result is verified by a physician.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(trail.app, name="audit")
app.add_typer(alerts.app, name="alerts")
app.add_typer(users.app, name="users")
app.add_typer(model.model_app, name="model")
app.add_typer(deliveries.app, name="deliveries")
deliveries.add_commands(app)
retention.add_commands(app)
backup.add_commands(app)
health.add_commands(app)
processes.add_commands(app)
reanalyse.add_commands(app)
inspection.add_commands(app)
ecgs.add_commands(app)
doctor.add_commands(app)
check.add_commands(app)
demo.add_commands(app)


def run() -> None:
    """Run a command; what the node refuses on purpose is one line, not a traceback."""
    try:
        app()
    except EcgNodeError as error:
        console.print(f"[red]ecg-node:[/red] {error}", highlight=False)
        sys.exit(1)
