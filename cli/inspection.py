"""`ecg-node inspect`: what a file is, and which picture of it the node would judge."""

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.common import out
from core.settings import read_settings

if TYPE_CHECKING:
    from dicom_node.description import GroupFacts
    from worker.inspection import Inspection


def add_commands(app: typer.Typer) -> None:
    """Add `inspect`."""
    app.command()(inspect)


def inspect(
    file: Annotated[Path, typer.Argument(help="A DICOM, PNG, JPEG, TIFF or PDF file.")],
    picture: Annotated[Path | None, typer.Option(help="Write the picture that would be judged here (PNG).")] = None,
    network_input: Annotated[
        Path | None, typer.Option("--input", help="Write what the network would get of it here (PNG).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what an object is and which picture of it would be judged. Needs no database; sends nothing."""
    from worker.inspection import inspect_file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's hold values of the file
        found = inspect_file(file, read_settings())
    written = _written(found, picture, network_input)
    if as_json:
        out.print_json(data=_as_json(found, written))
    else:
        _print(file, found, written)


def _written(found: "Inspection", picture: Path | None, network_input: Path | None) -> list[Path]:
    from dicom_node.heatmap import picture_png

    written = []
    for number, look in enumerate(found.looks, start=1):
        for path, pixels in ((picture, look.picture.rgb), (network_input, look.network_input)):
            if path is not None:
                target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
                target.write_bytes(picture_png(pixels))
                written.append(target)
    return written


def _print(file: Path, found: "Inspection", written: list[Path]) -> None:
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in [*_object_rows(file, found), *_judged_rows(found)]:
        table.add_row(name, escape(text))
    for path in written:
        table.add_row("written", escape(str(path)))
    out.print(table)


def _object_rows(file: Path, found: "Inspection") -> list[tuple[str, str]]:
    facts = found.facts
    rows = [("file", f"{file} (wrapped as `ecg-node push` would)" if found.wrapped else str(file))]
    if facts is None:
        return [*rows, ("object", "no DICOM header to read")]
    rows += [
        ("class", f"{facts.sop_class} ({facts.sop_class_uid})"),
        ("transfer syntax", f"{facts.transfer_syntax} ({facts.transfer_syntax_uid})"),
        ("becomes", facts.becomes),
        ("instance", facts.sop_instance_uid),
        ("size", f"{facts.size_bytes} bytes"),
        ("listener", f"would refuse it: {facts.refused}" if facts.refused else "would accept it"),
        *facts.header,
    ]
    used = {group for group, _channel in found.decoded.channels} if found.decoded else set()
    for group in facts.groups:
        rows.append((f"group {group.number}{' (judged)' if group.number in used else ''}", _group_text(group)))
    return rows


def _group_text(group: "GroupFacts") -> str:
    name = f"{group.label or 'no label'}, {group.originality.lower() or 'originality not said'}"
    size = f"{group.seconds:g} s at {group.rate_hz:g} Hz, {group.sample_format}, {' '.join(group.units)}"
    return f"{name}: {size}; {' '.join(group.leads)}"


def _judged_rows(found: "Inspection") -> list[tuple[str, str]]:
    if found.decoded is None:
        return [("judged", f"no: {found.refusal}")]
    rows = []
    for look in found.looks:
        height, width = look.picture.rgb.shape[:2]
        name = f"picture {look.picture.frame}" if look.picture.frame else "picture"
        said = f"cannot be judged: {look.refusal}" if look.refusal else f"would be judged (quality {look.quality:g})"
        rows.append((name, f"{width} x {height}, {said}"))
    if found.decoded.left_out:
        rows.append(("left out", f"{found.decoded.left_out} frames or pages beyond max_frames"))
    return rows


def _as_json(found: "Inspection", written: list[Path]) -> dict[str, Any]:
    decoded = found.decoded
    return {
        "wrapped": found.wrapped,
        "object": asdict(found.facts) if found.facts else None,
        "refusal": found.refusal,
        "kind": decoded.kind.value if decoded else None,
        "left_out": decoded.left_out if decoded else 0,
        "channels": [list(pair) for pair in decoded.channels] if decoded else [],
        "pictures": [
            {
                "frame": look.picture.frame,
                "width": look.picture.rgb.shape[1],
                "height": look.picture.rgb.shape[0],
                "quality": look.quality,
                "refusal": look.refusal,
            }
            for look in found.looks
        ],
        "written": [str(path) for path in written],
    }
