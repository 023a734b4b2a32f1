"""Graphics processors: how many there are, and that a worker takes of one only the memory that it needs."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True, slots=True)
class Way:
    """How a network is run: in which precision, and whether several pictures share a pass."""

    precision: Precision
    together: bool


ON_CPU = Way("float32", together=False)
# Tensor cores work in halves; one pass of many pictures costs there little more than one of a single one
ON_GPU = Way("mixed_float16", together=True)


def find_way() -> Way:
    """The way for this machine. To be called before the first network: memory growth cannot be set later."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return ON_CPU
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    for one in found:
        # TensorFlow takes all of the memory otherwise, and a second worker on the same GPU none
        tf.config.experimental.set_memory_growth(one, True)
    return ON_GPU if found else ON_CPU
