"""`ecg-node model`: audit data, train, evaluate, explain, export and package the network, and put it into service."""

from pathlib import Path
from typing import Annotated

import typer

from cli import model_service
from cli.common import out

model_app = typer.Typer(help="The network: data, training, evaluation, release.", no_args_is_help=True)

Data = Annotated[Path, typer.Argument(help="Folder laid out as docs/model.md says.", exists=True, file_okay=False)]
ModelDir = Annotated[Path | None, typer.Option("--model", help="A released model's folder; empty: the shipped one.")]


@model_app.callback()
def model() -> None:
    """The network: data, training, evaluation, release."""


@model_app.command()
def audit(
    data: Data, allow_leak: Annotated[bool, typer.Option(help="Report a leaking split without refusing it.")] = False
) -> None:
    """Find copies of the same exam, exact and near, within and across the parts of a split."""
    from model.audit import audit_folder

    report = audit_folder(data)
    out.print(report.text(), highlight=False)
    if report.leaks and not allow_leak:
        raise typer.Exit(1)


@model_app.command()
def train(
    data: Data,
    to: Annotated[Path, typer.Argument(help="Folder for weights, log and figure; a killed run goes on there.")],
    init: Annotated[Path, typer.Option(help="Local file of ImageNet weights (.npz, .h5) or of a released model.")],
    config: Annotated[Path | None, typer.Option(help="JSON of settings; empty: the defaults.")] = None,
    everything: Annotated[bool, typer.Option(help="Train on the test part too, for a model to be released.")] = False,
) -> None:
    """Train the head, then the last stage, with the adaptive focal loss."""
    from model.config import Config, read_config
    from model.train import train_folder

    train_folder(data, to, read_config(config) if config else Config(), init, everything, out.print)


@model_app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder laid out as docs/model.md says.", exists=True, file_okay=False)],
    json: Annotated[Path | None, typer.Option(help="Write every figure here.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for figures (PNG) and a page (HTML).")] = None,
    part: Annotated[str, typer.Option(help="all, or one part of the fixed split: train, validation, test.")] = "all",
    model_dir: ModelDir = None,
) -> None:
    """Score a released model on a folder of labelled ECGs, with intervals."""
    from model.evaluate import evaluate_folder

    out.print_json(data=evaluate_folder(data, model_dir, json, report, part))


@model_app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="Picture of an ECG.", exists=True, dir_okay=False)],
    to: Annotated[Path, typer.Argument(help="PNG to write.")],
    method: Annotated[str, typer.Option(help="grad_cam, grad_cam++, integrated_gradients or score_cam.")] = "grad_cam",
    model_dir: ModelDir = None,
) -> None:
    """Show on a picture what spoke for its label."""
    from model.explain import explain_file

    out.print(explain_file(image, to, method, model_dir), highlight=False)


@model_app.command()
def export(to: Annotated[Path, typer.Argument(help="Folder for the SavedModel.")], model_dir: ModelDir = None) -> None:
    """Export the network as a TensorFlow SavedModel, checked against its golden outputs."""
    from model.export import export_saved_model

    out.print(export_saved_model(to, model_dir), highlight=False)


@model_app.command()
def package(
    trained: Annotated[Path, typer.Argument(help="Folder that `train` wrote.", exists=True, file_okay=False)],
    models: Annotated[Path, typer.Argument(help="Folder of models; one is made in it, named by sha256.")],
    version: Annotated[str, typer.Option(help="Version of the model.")],
    calibration: Annotated[Path | None, typer.Option(help="JSON of temperature and thresholds.")] = None,
) -> None:
    """Make a trained network a model that the node can be switched to."""
    from model.release import release_trained

    out.print(str(release_trained(trained, models, version, calibration)), highlight=False)


model_service.add_commands(model_app)
