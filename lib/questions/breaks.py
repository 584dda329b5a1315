"""What is read off broken networks: outputs that are left, standstills, survivors, waits, curvature.

Digits *work* where more than half of their images are classified rightly; outputs are *trainable* where
their slope is not lost. A digit may work without its output being trainable: among outputs that are stuck one
is the largest all the same.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib import curvature, nets, streams
from lib.backend import tf

WORKS = 0.5  # recall above which a digit works
# mean of 4a(1 - a) above which an output is trainable. In trials 76 of 85 outputs above it that did not work
# came to work in five epochs of recovery; of those below, 20 of 70 down to a tenth of it and 7 of 852 further
TRAINABLE = 1e-5
STILL = 1.5  # points by which a net may move, over three looks, and yet stand still


def partly_dead(digits: np.ndarray) -> np.ndarray:
    """Whether two to nine of ten digits work; with one, a net may say this digit to everything."""
    return (digits > 1) & (digits < 10)


def stands_still(scores: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Who ends a recovery partly dead and at a standstill, bool (M,).

    Args:
        scores: Accuracy (M, E) in % at each look.
        digits: Working digits (M, E).
    """
    return partly_dead(digits[:, -1]) & (np.ptp(scores[:, -3:], axis=1) < STILL)


def shows(scores: np.ndarray, numbers: Sequence[float], points: float) -> np.ndarray:
    """Whose accuracies are near a source's at each look, bool (M,); nobody's where one is missing.

    Args:
        scores: Accuracy (M, E) in %.
        numbers: The source's, in %, for the first looks.
        points: How far off each may be.
    """
    off = np.abs(scores[:, : len(numbers)] - np.array(numbers)[: scores.shape[1]])
    return (off <= points).all(axis=1) & (scores.shape[1] >= len(numbers))


def falls_below(digits: np.ndarray, rates: Sequence[float], least: float = 5) -> np.ndarray:
    """The rate of a break at which each network falls below so many digits, between those tried.

    Args:
        digits: Working digits (M, R) after a break at each rate.
        rates: Rising, above 0 (R,).
        least: Digits.

    Returns:
        (M,), interpolated along the logarithm of the rate; the first or the last rate where it lies beyond.
    """
    found = []
    for row in np.minimum.accumulate(digits, axis=1):
        k = int((row >= least).sum())  # this rate is the first to leave fewer
        a, b = max(k - 1, 0), min(k, len(rates) - 1)
        part = (row[a] - least) / (row[a] - row[b]) if row[a] > row[b] else 0
        found.append(rates[a] * (rates[b] / rates[a]) ** part)
    return np.array(found)


def in_order(score: np.ndarray, alive: np.ndarray) -> list[float]:
    """Of each network's pairs of a survivor and a loss, the share in which the survivor scores higher.

    Args:
        score: Of each output (M, 10).
        alive: Which survive, bool (M, 10).

    Returns:
        One number for each network that has both; ties count one half.
    """
    return [
        float(np.mean((s[a][:, None] > s[~a]) + 0.5 * (s[a][:, None] == s[~a])))
        for s, a in zip(np.nan_to_num(score), alive, strict=True)
        if 0 < a.sum() < len(a)
    ]


def taken_by(first: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Of the outputs that each network loses, the share that it has lost at a first look already.

    Args:
        first: Which outputs are lost at the first look, bool (M, N).
        whole: Which are lost at the end (M, N).

    Returns:
        One number for each network that loses any.
    """
    hit = whole.any(axis=1)
    return (first & whole)[hit].sum(axis=1) / whole[hit].sum(axis=1)


def margin(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean distance of each output's pre-activation from the largest other one, on images of its own digit.

    Args:
        z: Pre-activations (M, N, 10).
        y: Classes, one-hot (N, 10).

    Returns:
        (M, 10); 0 for a digit without images.
    """
    rival = np.where(y > 0, -np.inf, z).max(axis=2)
    return ((z * y).sum(axis=2) - rival) @ y / np.maximum(y.sum(axis=0), 1)


def wait(gradient: np.ndarray, rate: float) -> np.ndarray:
    """Updates until an output far down the sigmoid is back on its slope, from the gradient at the start.

    One update lifts z by v = rate |g|^2 / |g_b|, with g the gradient of the output's parameters, g_b that of
    its bias; the slope is e^z and so is the speed, hence exp(z0 - z) = 1 - v t, which is 0 after 1/v updates.

    Args:
        gradient: Of the mean cost, of the output layer (M, n + 1, 10).
        rate: Learning rate.

    Returns:
        (M, 10); infinite where there is no gradient.
    """
    scale = np.abs(gradient).max(axis=1)  # squares of tiny numbers would vanish
    unit = gradient / np.where(scale > 0, scale, 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        updates = np.abs(unit[:, -1]) / (rate * ((unit**2).sum(axis=1) * scale))
    return np.where((scale > 0) & ~np.isnan(updates), updates, np.inf)


def _cost(layers, x, y):
    z = nets._forward(layers, nets.with_ones(x), "sigmoid")[-1]
    return tf.reduce_mean(tf.reduce_sum((tf.sigmoid(z) - y) ** 2, axis=-1), axis=-1) / 2


def steepest(result: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Largest curvature of the quadratic cost, the top eigenvalue of its Hessian, of each network.

    Args:
        result: With ``layer0`` and ``layer1``, as a phase keeps them.
        x: Images (N, 784).
        y: Classes, one-hot (N, 10).

    Returns:
        (M,), by 25 products at most, to about one per cent; 0 for a network that is not finite.
    """
    layers = [tf.constant(result[f"layer{k}"], tf.float32) for k in range(2)]
    data = tf.constant(x, tf.float32), tf.constant(y, tf.float32)
    hessian = curvature.products(_cost)

    def product(rows):
        return curvature.flat(hessian(layers, curvature.unflat(rows, layers), *data)[1]).numpy()

    start = streams.generator("steepness").normal(size=curvature.flat(layers).shape)
    return np.nan_to_num(curvature.top_eigenvalue(product, start, 25, 0.01).value, nan=0)
