"""`ecg-node` as a test calls it: in this process, with an environment of its own."""

import json
from typing import Any

from typer.testing import CliRunner

from cli.main import app
from core.errors import EcgNodeError
from tests.node import as_environment


class Commands:
    """Runs commands against one set of settings."""

    def __init__(self, **given: object) -> None:
        self._environment: dict[str, str] = as_environment(given) | {"COLUMNS": "200"}

    def __call__(self, *words: object) -> tuple[int, str]:
        """Exit status and output; what the node refuses on purpose is status 1 and its message, as `run` makes it."""
        result = CliRunner().invoke(app, [str(word) for word in words], env=self._environment)
        if isinstance(result.exception, EcgNodeError):
            return 1, result.output + str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def json(self, *words: object) -> Any:
        """What a command prints with `--json`."""
        status, said = self(*words, "--json")
        assert status == 0, said
        return json.loads(said)
