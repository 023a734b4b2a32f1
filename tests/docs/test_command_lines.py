"""Each `ecg-node` line that a page tells people to type can be typed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.main import app
from tests.conftest import ROOT
from tests.operations.compose import services

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"```(?:sh|console)\n(.*?)```", re.DOTALL)
IN_LINE = re.compile(r"`(ecg-node [a-z][^`]*)`")
_OF_A_USER = {"-u", "-g", "--owner"}


def _lines(page: Path) -> Iterator[str]:
    """What stands after `ecg-node` in blocks and in running text."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            for at, word in enumerate(words):
                if (
                    Path(word).name == "ecg-node"
                    and (at == 0 or _starts_it(words[:at]))
                    and words[at - 1] not in _OF_A_USER
                ):
                    yield shlex.join(words[at + 1 :])
    yield from (line.removeprefix("ecg-node ") for line in IN_LINE.findall(text))


def _starts_it(before: list[str]) -> bool:
    return before[:2] == ["docker", "compose"] or before[0] in {"sudo", "export"} or "=" in before[-1]


def _command(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = get_command(app)
    while words and getattr(command, "commands", None):
        assert words[0] in command.commands, f"no such command: {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def _fault(line: str) -> str | None:
    command, words = _command(shlex.split(line))
    options = {name: one for one in command.params for name in one.opts if name.startswith("-")}
    arguments = [one for one in command.params if not one.opts[0].startswith("-")]
    given, rest = 0, list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            given += 1
        elif word.split("=")[0] not in {*options, "--help"}:
            return f"no option {word}"
        elif "=" not in word and word in options and not options[word].is_flag:
            if not rest:
                return f"{word} needs a value"
            rest.pop(0)
    most = sum(one.nargs if one.nargs > 0 else 1000 for one in arguments)
    return None if given <= most else f"takes {most} arguments, not {given}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_of_a_page_can_be_typed(page: Path) -> None:
    faults = {line: fault for line in _lines(page) if (fault := _fault(line))}
    assert faults == {}


@pytest.mark.parametrize(
    "line", ["deliveries ls --colour", "deliveries drop 1 --why", "pause main other", "retention --days 3"]
)
def test_a_line_that_cannot_be_typed_is_found(line: str) -> None:
    assert _fault(line)


def test_the_pages_name_services_and_files_that_there_are() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = re.findall(r"docker compose (?:exec|logs|ps|run --rm -v \S+) ([a-z][a-z-]*)", text)
    assert named
    assert set(named) <= set(services())
    for profile in re.findall(r"--profile ([a-z]+)", text):
        assert any(profile in one.get("profiles", []) for one in services().values())
    for name in re.findall(r"(?<![\w/.-])((?:docker|systemd)/[\w.-]*\w)", text):
        assert (ROOT / name).exists() or list(ROOT.glob(f"{name}*")), name
    for unit in re.findall(r"\b(ecg-node-(?:[a-z]+)(?:\.timer)?)(?=[@ '\n`])", text):
        assert list((ROOT / "systemd").glob(f"{unit}*")), unit


def test_every_page_can_be_reached_from_the_readme() -> None:
    found: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        targets = re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / target).resolve() for target in targets]
    assert {str(page.relative_to(ROOT)) for page in set(PAGES) - found} == set()
