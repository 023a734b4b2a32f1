"""The shipped network in service: the same answer however it is asked, and none from a model that was changed."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadModel
from core.states import JobState, Reason
from core.values import LABELS, Picture
from model.card import CARD, GOLDEN, WEIGHTS, read_card, sha256_of, shipped_model_dir
from model.classifier import Classifier, default_model_dir
from model.preprocessing import prepare
from model.rendering import draw_sheet, random_style
from model.synthetic import synthetic_signal


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(default_model_dir(), batch_size=4)


def pictures(count: int) -> list[Picture]:
    rng = np.random.default_rng(5)
    drawn = [draw_sheet(synthetic_signal(50 + 15 * n, 0.1 * n, seed=n), random_style(rng)) for n in range(count)]
    return [replace(one, frame=n) for n, one in enumerate(drawn)]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_model_dir(), tmp_path / "model"))


def test_the_model_names_itself_and_its_weights(classifier: Classifier) -> None:
    identity = classifier.identity
    assert identity.weights_sha256 == sha256_of(shipped_model_dir() / WEIGHTS)
    assert identity.version == read_card(shipped_model_dir()).version
    assert (identity.input_height, identity.input_width) != (0, 0)


def test_shipped_weights_are_one_file_below_fifty_megabytes() -> None:
    assert (shipped_model_dir() / WEIGHTS).stat().st_size < 50_000_000


def test_an_ecg_is_judged_with_probabilities_and_heat(classifier: Classifier) -> None:
    judgement = classifier.classify(pictures(1))[0]
    assert judgement.probabilities is not None
    assert sum(judgement.probabilities) == pytest.approx(1.0, abs=1e-6)
    assert judgement.heat is not None
    assert judgement.heat.dtype == np.float32
    assert 0 <= judgement.heat.min() <= judgement.heat.max() <= 1
    if judgement.label is None:
        assert judgement.reason is Reason.UNCERTAIN
    else:
        assert judgement.label is LABELS[int(np.argmax(judgement.probabilities))]
        assert judgement.state is JobState.DONE


def test_one_picture_alone_is_judged_as_among_many(classifier: Classifier) -> None:
    many = pictures(6)  # more than a batch
    together = classifier.classify(many)
    for picture, among in zip(many, together, strict=True):
        alone = classifier.classify([picture])[0]
        assert alone.probabilities == among.probabilities
        assert alone.label == among.label
        assert alone.heat is not None
        assert np.array_equal(alone.heat, among.heat)


def test_no_pictures_get_no_judgements(classifier: Classifier) -> None:
    assert classifier.classify([]) == []


def test_a_blank_page_is_refused_and_its_neighbours_are_not(classifier: Classifier) -> None:
    first, second = pictures(2)
    blank = Picture(np.full((800, 1100, 3), 255, np.uint8))
    one, refused, two = classifier.classify([first, blank, second])
    assert refused.label is None
    assert refused.reason is Reason.BLANK
    assert refused.probabilities is None
    assert refused.heat is None
    assert refused.state is JobState.NOT_DIAGNOSTIC
    assert [one.probabilities, two.probabilities] == [
        each.probabilities for each in classifier.classify([first, second])
    ]


def test_service_sees_the_bits_that_training_saw(classifier: Classifier) -> None:
    card = read_card(shipped_model_dir())
    rgb = draw_sheet(synthetic_signal()).rgb
    prepared = prepare(rgb, card.config["height"], card.config["width"]).pixels
    expected = classifier.probabilities(prepared[None, :, :, 0])[0]
    assert classifier.classify([Picture(rgb)])[0].probabilities == tuple(float(one) for one in expected)


def test_a_header_text_and_a_frame_do_not_change_the_label(classifier: Classifier) -> None:
    plain = draw_sheet(synthetic_signal()).rgb
    headed = np.full((plain.shape[0] + 120, plain.shape[1] + 60, 3), 255, np.uint8)
    headed[100:-20, 30:-30] = plain
    headed[20:36, 60:400:7] = 0
    one, other = classifier.classify([Picture(plain), Picture(headed)])
    assert one.probabilities is not None
    assert other.probabilities == pytest.approx(one.probabilities, abs=0.25)


def test_changed_weights_are_refused(copied: Path) -> None:
    raw = bytearray((copied / WEIGHTS).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copied / WEIGHTS).write_bytes(bytes(raw))
    with pytest.raises(BadModel, match="sha256"):
        Classifier.load(copied)


def test_golden_outputs_that_are_missing_are_named(copied: Path) -> None:
    (copied / GOLDEN).unlink()
    with pytest.raises(BadModel, match=r"golden\.npz is missing"):
        Classifier.load(copied)


def test_a_network_that_answers_otherwise_is_refused(copied: Path) -> None:
    with np.load(copied / GOLDEN) as file:
        pixels, probabilities = file["pixels"], file["probabilities"]
    np.savez_compressed(copied / GOLDEN, pixels=pixels, probabilities=np.roll(probabilities, 1, axis=1))
    card = json.loads((copied / CARD).read_text())
    (copied / CARD).write_text(json.dumps(card | {"golden_sha256": sha256_of(copied / GOLDEN)}))
    with pytest.raises(BadModel, match="answers otherwise"):
        Classifier.load(copied)


def test_a_model_of_another_preprocessing_is_refused(copied: Path) -> None:
    card = json.loads((copied / CARD).read_text())
    (copied / CARD).write_text(json.dumps(card | {"preprocessing_version": "0"}))
    with pytest.raises(BadModel, match="preprocessing 0"):
        Classifier.load(copied)


def test_a_folder_without_a_card_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="model_dir"):
        Classifier.load(tmp_path)


def test_half_precision_differs_little(classifier: Classifier) -> None:
    half = Classifier.load(default_model_dir(), precision="mixed_bfloat16", batch_size=4)
    for one, other in zip(classifier.classify(pictures(2)), half.classify(pictures(2)), strict=True):
        assert one.probabilities is not None
        assert other.probabilities == pytest.approx(one.probabilities, abs=0.1)
