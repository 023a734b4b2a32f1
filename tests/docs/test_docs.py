"""The documents say what the code does."""

import re
import runpy
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import app
from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
MAKER = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))
RISKS = runpy.run_path(str(ROOT / "docs" / "make_risks.py"))


def _commands() -> set[str]:
    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {one}" for one in inner} if inner else {name}
    return found


def test_the_settings_page_lists_exactly_the_settings_there_are() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == MAKER["settings_page"]()


def test_the_example_environment_lists_exactly_the_settings_there_are() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == MAKER["env_example"]()


def test_the_page_of_risks_has_the_figures_of_the_last_run_and_the_tests_there_are() -> None:
    assert (ROOT / "docs" / "risks.md").read_text(encoding="utf-8") == RISKS["risks_page"](), (
        "python docs/make_risks.py"
    )


def test_every_command_is_in_the_docs() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *PAGES])
    assert {command for command in _commands() if f"ecg-node {command}" not in text} == set()


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_a_page_names_only_commands_that_there_are(page: Path) -> None:
    known = _commands()
    groups = {command.split()[0] for command in known}
    for words in re.findall(r"`ecg-node ([a-z][a-z -]*)", page.read_text(encoding="utf-8")):
        first, *rest = words.split()
        assert first in groups, f"{page.name} names `ecg-node {first}`"
        if first not in known and rest and not rest[0].startswith("-"):
            assert f"{first} {rest[0]}" in known, f"{page.name} names `ecg-node {first} {rest[0]}`"


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_make_target_of_the_docs_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]:
        named = set(re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z-]+)", page.read_text(encoding="utf-8")))
        assert named <= targets, page.name
