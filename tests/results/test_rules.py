"""Which results go where; a rule that can never hold is refused at start, by name."""

from pathlib import Path
from typing import Any

import pytest

from core.errors import BadSettings
from core.settings import CONFIG_VARIABLE, Settings, read_settings
from core.states import Reason, ReportKind
from core.values import Judgement, Label
from records.results import Route
from tests.results.sources import judgement
from worker.routes import Subject, choose_routes

SR, HEATMAP = ReportKind.SR, ReportKind.HEATMAP
PACS = {"host": "pacs", "port": 104, "ae_title": "PACS"}
INFARCTION = judgement(Label.MYOCARDIAL_INFARCTION)  # 0.875
NORMAL = judgement(Label.NORMAL)
UNREADABLE = judgement(None, Reason.BLANK)


def _sent(when: list[dict[str, Any]], *judgements: Judgement, send: str = "both", **of: str) -> set[ReportKind]:
    """Kinds of results that a destination with these rules gets of an ECG."""
    settings = Settings(destinations={"there": PACS | {"when": when, "send": send}})
    came = {"calling_ae_title": "CART1", "modality": "ECG", "study_description": "Rest"} | of
    routes = [Route("there", frozenset({SR, HEATMAP}))]
    chosen = choose_routes(routes, settings, Subject(judgements=judgements or (INFARCTION,), **came))
    return {kind for route in chosen for kind in route.kinds}


def test_without_rules_everything_goes() -> None:
    assert _sent([]) == {SR, HEATMAP}
    assert _sent([], send="sr") == {SR}


@pytest.mark.parametrize(
    ("rule", "fits", "does_not"),
    [
        ({"calling_ae_titles": ["CART*"]}, {}, {"calling_ae_title": "ER1"}),
        ({"calling_ae_titles": ["ER?", "CART1"]}, {"calling_ae_title": "ER7"}, {"calling_ae_title": "CART2"}),
        ({"modalities": ["ECG"]}, {}, {"modality": "OT"}),
        ({"study_descriptions": ["*STRESS*"]}, {"study_description": "Treadmill stress"}, {}),
    ],
)
def test_a_rule_looks_at_where_an_ecg_came_from(
    rule: dict[str, Any], fits: dict[str, str], does_not: dict[str, str]
) -> None:
    assert _sent([rule], **fits) == {SR, HEATMAP}
    assert _sent([rule], **does_not) == set()


def test_a_rule_looks_at_what_was_said() -> None:
    rule = {"labels": ["myocardial_infarction", "not_diagnostic"]}
    assert _sent([rule], INFARCTION) == {SR, HEATMAP}
    assert _sent([rule], UNREADABLE) == {SR, HEATMAP}
    assert _sent([rule], NORMAL) == set()


def test_a_rule_looks_at_probabilities_whatever_the_label() -> None:
    assert _sent([{"probability": {"myocardial_infarction": 0.875}}], INFARCTION) == {SR, HEATMAP}
    assert _sent([{"probability": {"myocardial_infarction": 0.876}}], INFARCTION) == set()
    assert _sent([{"probability": {"myocardial_infarction": 0.03}}], NORMAL) == {SR, HEATMAP}
    assert _sent([{"probability": {"normal": 0.0}}], judgement(None, Reason.UNCERTAIN)) == set()


def test_label_and_probability_are_of_one_frame() -> None:
    rule = {"labels": ["normal"], "probability": {"myocardial_infarction": 0.5}}
    assert _sent([rule], NORMAL, INFARCTION) == set()
    assert _sent([{"labels": ["normal"]}], INFARCTION, NORMAL) == {SR, HEATMAP}


def test_what_one_rule_says_must_all_hold_and_rules_add_up() -> None:
    both = [{"modalities": ["ECG"], "labels": ["normal"]}]
    assert _sent(both, INFARCTION) == set()
    either = [{"labels": ["normal"], "send": "sr"}, {"modalities": ["ECG"], "send": "heatmap"}]
    assert _sent(either, NORMAL) == {SR, HEATMAP}
    assert _sent(either, INFARCTION) == {HEATMAP}


IMPOSSIBLE = {
    "unknown label": ("labels = ['mi']", "labels"),
    "unknown condition": ("colour = 'red'", "colour"),
    "no condition": ("send = 'sr'", "without a condition"),
    "probability above one": ("probability = { normal = 1.5 }", "probability"),
    "probabilities above one together": ("probability = { normal = 0.6, myocardial_infarction = 0.6 }", "add up"),
    "probability of what has none": ("labels = ['not_diagnostic']\nprobability = { normal = 0.1 }", "probabilit"),
    "heat map of what has none": ("labels = ['not_diagnostic']\nsend = 'heatmap'", "heat map"),
    "AE title too long": ("calling_ae_titles = ['A23456789012345678']", "16 characters"),
    "AE title of nobody": ("calling_ae_titles = ['STRANGER']", "no caller has"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_impossible_rule_is_refused_by_name(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, named = IMPOSSIBLE[what]
    with pytest.raises(BadSettings, match=named) as refused:
        _read(f"{CALLERS}{DESTINATION}[[destinations.main.when]]\n{rule}\n", tmp_path, monkeypatch)
    assert "destinations" in str(refused.value)


CALLERS = "[callers.carts]\nae_titles = ['CART1']\n"
DESTINATION = "[destinations.main]\nhost = 'pacs'\nport = 104\nae_title = 'PACS'\n"


def _read(toml: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    path = folder / "node.toml"
    path.write_text(toml, encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    return read_settings()


def test_the_rules_of_the_settings_page_are_read_from_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "[[destinations.main.when]]\ncalling_ae_titles = ['CART1', 'ER*']\nsend = 'sr'\n"
    rule += "probability = { myocardial_infarction = 0.4 }\n"
    settings = _read(CALLERS + DESTINATION + rule, tmp_path, monkeypatch)
    (read,) = settings.destinations["main"].when
    assert (read.calling_ae_titles, read.probability, read.send) == (
        ("CART1", "ER*"),
        {Label.MYOCARDIAL_INFARCTION: 0.4},
        "sr",
    )


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("tls_ca_file = '/ca.pem'", "set tls = true"),
        ("tls = true\ntls_key_file = '/key.pem'", "belong together"),
        ("[destinations.other]\nhost = 'pacs'\nport = 104\nae_title = 'PACS'", "the same PACS"),
        ("[codes.title]\nvalue = '1'\nscheme = 'LN'\nmeaning = 'Prüfung'", "meaning"),
        ("[codes.titel]\nvalue = '1'\nscheme = 'LN'\nmeaning = 'x'", "titel"),
        ("transfer_syntax = 'jpeg'", "transfer_syntax"),
    ],
)
def test_what_cannot_work_is_refused_by_name(
    lines: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadSettings, match=named):
        _read(f"{DESTINATION}{lines}\n", tmp_path, monkeypatch)
