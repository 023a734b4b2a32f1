"""Writes docs/settings.md and .env.example from the settings themselves."""

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.settings import NESTED, PREFIX, Settings  # noqa: E402

HEAD = """# Settings

Each can be given in the environment (`ECG_NODE_LISTEN_PORT=11112`), in a file whose name is in the environment with
`_FILE` behind it (`ECG_NODE_BROKER_URL_FILE=/run/secrets/broker_url`, for secrets), or in the TOML file that
`ECG_NODE_CONFIG` names (`listen_port = 11112`). The environment is stronger than the TOML file. An unknown or
impossible setting is refused at start, by name. This page is made by `python docs/make_settings.py`.
"""


def settings_page() -> str:
    """The text of docs/settings.md."""
    lines = [HEAD, "| setting | default | what |", "|---|---|---|"]
    nested = []
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |")
        inner = _inner(field)
        if inner is not None:
            nested.append((name, inner))
    for name, inner in nested:
        lines += [f"\n## `{name}`", _example(name, inner), "| key | default | what |", "|---|---|---|"]
        lines += [f"| `{key}` | {_default(field)} | {field.description} |" for key, field in inner.model_fields.items()]
    return "\n".join(lines) + "\n"


def env_example() -> str:
    """The text of .env.example."""
    lines = ["# Every setting with its default; docs/settings.md says more. Take away the # of what you change."]
    for name, field in Settings.model_fields.items():
        lines.append(f"# {field.description}")
        inner = _inner(field)
        if inner is None:
            lines.append(f"#{PREFIX}{name.upper()}={_plain(field)}")
        else:
            lines += [f"#{PREFIX}{name.upper()}{NESTED}MAIN{NESTED}{key.upper()}=" for key in inner.model_fields]
    return "\n".join(lines) + "\n"


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    for argument in get_args(field.annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
    return None


def _example(name: str, inner: type[BaseModel]) -> str:
    keys = "\n".join(f"{key} = ..." for key, field in inner.model_fields.items() if field.is_required())
    return f"\nIn TOML, with a name of your own in place of `main`:\n```toml\n[{name}.main]\n{keys}\n```\n"


def _plain(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return "[]" if not value else str([str(one) for one in value])
    return str(value).lower() if isinstance(value, bool) else str(value)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if _inner(field) is not None:
        return "none"
    return f"`{_plain(field)}`" if _plain(field) else "empty"


def main() -> None:
    (ROOT / "docs" / "settings.md").write_text(settings_page(), encoding="utf-8")
    (ROOT / ".env.example").write_text(env_example(), encoding="utf-8")


if __name__ == "__main__":
    main()
