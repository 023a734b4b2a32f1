"""Where the head starts: the optimum of weighted cross-entropy with a ridge penalty, found with the whole data at once.

Two thousand correlated maps and few exams: Adam needs thousands of steps to come near this point, a quasi-Newton method
a hundred. The adaptive loss goes on from here.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_ITERATIONS = 150
VAGUE = 0.3  # chosen by cross-validation over hundreds of exams, so that they add to three labels and do not rule them


def start_head(
    inputs: NDArray[np.float32], labels: NDArray[np.int64], classes: int, l2: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel (maps, classes) and bias (classes,) for centred `inputs` (pictures, maps); every label weighs the same.

    A label of `classes` means: any but the first. All such pictures together weigh `VAGUE` of a label.
    """
    right = np.concatenate([np.eye(classes), [np.arange(classes) > 0]]).astype(np.float32)[labels]
    weights = _weights(labels, classes)
    maps = inputs.shape[1]

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        kernel = point[:-classes].reshape(maps, classes).astype(np.float32)
        logits = inputs @ kernel + point[-classes:].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        p_right = np.maximum((p * right).sum(axis=1), 1e-12)
        slope = weights[:, None] * (p - p * right / p_right[:, None])
        gradient = np.concatenate([(inputs.T @ slope + 2 * l2 * kernel).ravel(), slope.sum(axis=0)])
        value = -float((weights * np.log(p_right)).sum()) + l2 * float((kernel**2).sum())
        return value, gradient.astype(np.float64)

    start = np.zeros(maps * classes + classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x.astype(np.float32)
    return found[:-classes].reshape(maps, classes), found[-classes:]


def _weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """One picture's weight; they sum to one."""
    counts = np.bincount(labels, minlength=classes + 1)
    shares = np.where(counts > 0, np.array([1.0] * classes + [VAGUE]), 0.0)
    return np.asarray((shares / shares.sum() / np.maximum(counts, 1))[labels], np.float32)
