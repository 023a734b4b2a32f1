"""The documents say what the code does."""

import re
import runpy
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import app
from core.settings import Settings
from dicom_node.contexts import accepted_contexts
from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
MAKER = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))
CONFORMANCE = runpy.run_path(str(ROOT / "docs" / "make_conformance.py"))
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


def test_the_conformance_statement_is_made_from_the_code() -> None:
    assert (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8") == CONFORMANCE["conformance_page"](), (
        "python docs/make_conformance.py"
    )


def test_the_conformance_statement_lists_exactly_the_contexts_that_the_listener_accepts() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    part = page[page.index("#### 4.2.1 Receiver") : page.index("##### 4.2.1.2")]
    rows = [[cell.strip() for cell in line.split("|")] for line in part.splitlines()]
    stated = {cells[2]: cells[3].split(", ") for cells in rows if len(cells) == 6 and cells[2][:1].isdigit()}
    named = {short: uid for uid, short in CONFORMANCE["SHORT"].items()}
    accepted = {
        str(one.abstract_syntax): [str(uid) for uid in one.transfer_syntax or ()]
        for one in accepted_contexts(Settings())
    }
    assert {uid: [named[one] for one in syntaxes] for uid, syntaxes in stated.items()} == accepted


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
