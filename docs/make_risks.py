"""Writes docs/risks.md from the hand-written docs/risks.toml and the figures of the last run of the fault tests."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAST_RUN = ROOT / "docs" / "risks-last-run.json"
FIGURES = ("cases", "kills", "seconds", "lost", "duplicated", "violations")

HEAD = """# Risks, what holds them, and how that was tried

`make faults` runs every row and writes its figures here (`docs/risks-last-run.json`, `python docs/make_risks.py`).
*Lost* are acknowledged ECGs without row, file or answer; *duplicated* are inputs with more than one SR at the PACS;
*violations* are findings of `ecg-node check` and of the tests' own looks after a fault. How a test
was, or can be, seen to fail with its defence off is told in its file. FAULTS_SEED=N makes another run of the random
ones.
"""


def risks_page() -> str:
    """The text of docs/risks.md."""
    risks = tomllib.loads((ROOT / "docs" / "risks.toml").read_text(encoding="utf-8"))
    ran: dict[str, dict[str, Any]] = json.loads(LAST_RUN.read_text(encoding="utf-8")) if LAST_RUN.exists() else {}
    head = ["", "risk", "control", "tests", *FIGURES]
    lines = [HEAD, f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row, texts in risks.items():
        cells = [row, texts["risk"], texts["control"], _tests(row), *_figures(texts, ran.get(row))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _when(ran)]) + "\n"


def _tests(row: str) -> str:
    """Test files that carry the row's number in their name or in a test's."""
    number = re.compile(rf"(?m)(?:^def |^)test_(?:t\d\d_)*{row.lower()}_")
    found = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if _is_of(path, number)]
    return ", ".join(f"[{path.stem.removeprefix('test_')}](../{path.relative_to(ROOT)})" for path in found) or "none"


def _is_of(path: Path, number: re.Pattern[str]) -> bool:
    return bool(number.match(path.name) or number.search(path.read_text(encoding="utf-8")))


def _figures(texts: dict[str, str], ran: dict[str, Any] | None) -> list[str]:
    if ran is None:
        return [f"not in the last run: {texts.get('pending', 'no figures were taken yet')}", *[""] * (len(FIGURES) - 1)]
    cells = [f"{ran[name]:g}" for name in FIGURES]
    if ran["failed"]:
        cells[0] += f", **{ran['failed']} FAILED**"
    if ran["skipped"]:
        cells[0] += f", {ran['skipped']} skipped"
    return cells


def _when(ran: dict[str, dict[str, Any]]) -> str:
    runs: dict[str, list[str]] = {}
    for row, figures in sorted(ran.items()):
        run = (
            f"{figures['at']}, {figures['cores']} cores, {figures['system']}, seed {figures['seed']}, {figures['code']}"
        )
        runs.setdefault(run, []).append(row)
    return "\n".join(f"- {', '.join(rows)}: {run}" for run, rows in sorted(runs.items())) or "Nothing was run yet."


def main() -> None:
    (ROOT / "docs" / "risks.md").write_text(risks_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
