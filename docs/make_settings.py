"""Writes docs/settings.md and .env.example from the settings themselves."""

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.settings import NESTED, PREFIX, CodeUse, Settings  # noqa: E402

HEAD = """# Settings

Each can be given in the environment (`ECG_NODE_LISTEN_PORT=11112`), in a file whose name is in the environment with
`_FILE` behind it (`ECG_NODE_BROKER_URL_FILE=/run/secrets/broker_url`, for secrets), or in the TOML file that
`ECG_NODE_CONFIG` names (`listen_port = 11112`). The environment is stronger than the TOML file. An unknown or
impossible setting is refused at start, by name. This page is made by `python docs/make_settings.py`.
"""


# What stands in place of `main` where that is not free
USES = {"[codes.main]": get_args(CodeUse)}
RULES = {
    "when": """
All that a rule sets must hold; one rule that holds is enough. What `send` says in the rules that hold adds up. This
destination gets the SR of every likely infarction from two carts, and everything of stress tests:

```toml
[[destinations.cardiology.when]]
calling_ae_titles = ["CART1", "ER*"]
probability = { myocardial_infarction = 0.4 }
send = "sr"

[[destinations.cardiology.when]]
study_descriptions = ["*stress*", "*treadmill*"]
```

An impossible rule is refused at start, by name: probabilities that cannot hold together, a label that there is not, an
AE title that no caller has, a heat map of what cannot be judged."""
}


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
        lines += [f"\n## `{name}`", _example(f"[{name}.main]", inner), *_keys(inner)]
        for key, field in inner.model_fields.items():
            deeper = _inner(field)
            if deeper is not None:
                heading = f"[[{name}.main.{key}]]"
                lines += [f"\n### `{name}`: `{key}`", _example(heading, deeper), *_keys(deeper), RULES.get(key, "")]
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


def _keys(inner: type[BaseModel]) -> list[str]:
    rows = [f"| `{key}` | {_default(field)} | {field.description} |" for key, field in inner.model_fields.items()]
    return ["| key | default | what |", "|---|---|---|", *rows]


def _example(heading: str, inner: type[BaseModel]) -> str:
    keys = "".join(f"{key} = ...\n" for key, field in inner.model_fields.items() if field.is_required())
    use = next((f", which is one of {', '.join(map(repr, uses))}" for uses in [USES.get(heading)] if uses), "")
    return f"\nIn TOML, with a name of your own in place of `main`{use}:\n```toml\n{heading}\n{keys}```\n"


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
