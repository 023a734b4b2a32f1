"""Where the head starts: the optimum of weighted cross-entropy with a ridge penalty, found with the whole data at once.

Two thousand correlated maps and few exams: Adam needs thousands of steps to come near this point, a quasi-Newton method
a hundred. The adaptive loss goes on from here.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_ITERATIONS = 150


def start_head(
    inputs: NDArray[np.float32], labels: NDArray[np.int64], classes: int, l2: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel (maps, classes) and bias (classes,) for centred `inputs` (pictures, maps); every label weighs the same."""
    targets = np.eye(classes, dtype=np.float32)[labels]
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    weights = (len(labels) / (np.count_nonzero(np.bincount(labels)) * counts[labels]) / len(labels)).astype(np.float32)
    maps = inputs.shape[1]

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        kernel = point[:-classes].reshape(maps, classes).astype(np.float32)
        logits = inputs @ kernel + point[-classes:].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        slope = weights[:, None] * (np.exp(log_p) - targets)
        gradient = np.concatenate([(inputs.T @ slope + 2 * l2 * kernel).ravel(), slope.sum(axis=0)])
        value = -float((weights * (log_p * targets).sum(axis=1)).sum()) + l2 * float((kernel**2).sum())
        return value, gradient.astype(np.float64)

    start = np.zeros(maps * classes + classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x.astype(np.float32)
    return found[:-classes].reshape(maps, classes), found[-classes:]
