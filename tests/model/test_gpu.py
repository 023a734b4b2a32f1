"""How a GPU would be used, as far as a machine without one can show it."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest

from model.classifier import AGREEMENT, Classifier, default_model_dir
from model.gpu import ON_CPU, ON_GPU, find_way
from model.rendering import draw_sheet
from model.synthetic import synthetic_signal


def test_the_way_of_a_gpu_judges_as_the_way_of_a_cpu() -> None:
    """Halves, and one pass for all, run here on the CPU; what a GPU itself does is not tested."""
    pictures = [draw_sheet(synthetic_signal(60.0 + 20 * n, 0.3 * n, seed=n)) for n in range(3)]
    exact = Classifier.load(default_model_dir())
    half = Classifier.load(default_model_dir(), precision=ON_GPU.precision, together=ON_GPU.together)
    for found, expected in zip(half.classify(pictures), exact.classify(pictures), strict=True):
        assert found.probabilities == pytest.approx(expected.probabilities, abs=AGREEMENT["mixed_float16"])
        assert found.heat is not None


def test_a_machine_without_a_gpu_takes_the_way_of_a_cpu() -> None:
    assert find_way() == ON_CPU
