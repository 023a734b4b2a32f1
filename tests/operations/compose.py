"""The compose file as an engine reads it: defaults filled in, anchors merged."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

FILE = ROOT / "docker-compose.yml"
TLS_FILE = ROOT / "docker" / "tls.yml"


def compose_text() -> str:
    """The file as one plain YAML document, for a validator that knows neither variables nor merge keys."""
    return yaml.safe_dump(read_compose(), sort_keys=False)


def read_compose(file: Path = FILE) -> dict[str, Any]:
    """The file's content; `$$` is still doubled, as in the file."""
    filled = re.sub(r"(?<!\$)\$\{[A-Z_]+:-([^}]*)\}", r"\1", file.read_text(encoding="utf-8"))
    whole: dict[str, Any] = yaml.safe_load(filled)
    return {name: value for name, value in whole.items() if not name.startswith("x-")}


def with_tls() -> dict[str, Any]:
    """Both files together, as an engine merges them: mappings by key, lists one after the other."""
    whole, more = read_compose(), read_compose(TLS_FILE)
    listener, added = whole["services"]["listener"], more["services"]["listener"]
    listener["environment"] |= added["environment"]
    for name in ("secrets", "ports"):
        listener[name] = listener[name] + added[name]
    whole["secrets"] |= more["secrets"]
    return whole


def services() -> dict[str, dict[str, Any]]:
    """Services by name."""
    found: dict[str, dict[str, Any]] = read_compose()["services"]
    return found


def names(listed: list[Any]) -> list[str]:
    """Names of secrets or configs, in whichever of the two spellings."""
    return [one if isinstance(one, str) else one["source"] for one in listed]
