"""What is measured on networks: guesses, saturation, norms, distance, effective dimension, linear probes."""

from collections.abc import Sequence

import numpy as np

from lib import checks, nets
from lib.backend import tf


def norms(layers: Sequence[tf.Tensor]) -> np.ndarray:
    """Euclidean norm of each layer's parameters, biases included.

    Args:
        layers: L tensors (M, n_in + 1, n_out).

    Returns:
        (M, L).
    """
    result = []
    for layer in layers:
        # the largest entry first: the squares of float32 beyond 1e19 or below 1e-23 overflow or vanish
        largest = tf.reduce_max(tf.abs(layer), axis=(1, 2))
        unit = tf.where(largest > 0, largest, tf.ones_like(largest))[:, None, None]
        result.append((largest * tf.norm(layer / unit, axis=(1, 2))).numpy())
    return np.stack(result, axis=1)


def distances(layers: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> np.ndarray:
    """Euclidean distance between two sets of layers, layer by layer: (M, L)."""
    return norms([a - b for a, b in zip(layers, others, strict=True)])


def finite(layers: Sequence[tf.Tensor]) -> np.ndarray:
    """Whether all parameters of each member are finite: (M,)."""
    return np.stack([np.isfinite(w).all(axis=(1, 2)) for w in layers]).all(axis=0)


def guess(z: np.ndarray, output: np.ndarray | None = None) -> np.ndarray:
    """The class that each member takes each image for.

    Args:
        z: Pre-activations of the outputs, or other scores (..., K).
        output: Activations (..., K) to take the largest of, where units that saturate make equal ones of
            pre-activations that differ; the first of equal ones counts.

    Returns:
        Number of the largest (...); -1, no class, where a score is not finite: the largest of NaNs would be
        the first one.
    """
    z = np.asarray(z)
    largest = np.asarray(z if output is None else output).argmax(axis=-1)
    return np.where(np.isfinite(z).all(axis=-1), largest, -1)


def slope(activations: Sequence[tf.Tensor]) -> np.ndarray:
    """Mean slope tanh'(z) = 1 - h^2 of the units of each hidden layer, over units and examples.

    1 for units at rest, 0 for saturated ones: the factor by which a gradient shrinks on its way down.

    Args:
        activations: L hidden layers' activations (M, N, n).

    Returns:
        (M, L), in 0..1.
    """
    return np.stack([tf.reduce_mean(1 - h * h, axis=(1, 2)).numpy() for h in activations], axis=1)


def deviation(activations: tf.Tensor) -> np.ndarray:
    """Standard deviation of each unit's activation over the examples: near 0 for a unit that says nothing.

    Unlike the mean activation, it finds a sigmoid unit that is stuck at 1 as well as one stuck at 0.

    Args:
        activations: (M, N, n).

    Returns:
        (M, n); NaN for a unit with an activation that is not finite.
    """
    return tf.math.reduce_std(activations, axis=1).numpy()


def sigmoid_slope(activations: tf.Tensor) -> np.ndarray:
    """Mean of 4 a (1 - a) over the examples, for each sigmoid unit: its slope, as a fraction of the largest.

    Args:
        activations: Outputs a of sigmoid units (M, N, n).

    Returns:
        (M, n), 0 for a saturated unit to 1 for one at rest.
    """
    return tf.reduce_mean(4 * activations * (1 - activations), axis=1).numpy()


def dimension(activations: Sequence[tf.Tensor]) -> np.ndarray:
    """Effective dimension of each hidden layer.

    The participation ratio (sum v)^2 / sum v^2 of the eigenvalues v of the activations' covariance C, as
    trace(C)^2 / trace(C^2). Ranges from 1 (all variance along one line) to n.

    Args:
        activations: L hidden layers' activations (M, N, n).

    Returns:
        (M, L).
    """
    result = []
    for h in activations:
        h = h - tf.reduce_mean(h, axis=1, keepdims=True)
        covariance = tf.matmul(h, h, transpose_a=True)
        result.append(tf.linalg.trace(covariance) ** 2 / tf.reduce_sum(covariance**2, axis=(1, 2)))
    return np.stack([r.numpy() for r in result], axis=1)


def probe(train: tf.Tensor, targets: np.ndarray, ridge: float) -> tf.Tensor:
    """A linear probe of a layer: ridge regression from its activations to one-hot classes.

    In closed form, so that no learning rate and no number of steps comes between the layer and its score.

    Args:
        train: Activations on the training images (M, N, n).
        targets: One-hot classes (N, K).
        ridge: Penalty on the squared weights, per training image, above 0; the bias is penalised too.

    Returns:
        A layer (M, n + 1, K) that takes activations with a column of ones to scores of the classes; NaN for a
        member whose activations are not finite.

    Raises:
        ValueError: ridge is not positive and finite.

    Source: linear classifier probes, Alain and Bengio 2016; here with squared loss.
    """
    checks.must(0 < ridge < np.inf, "ridge", "above 0 and finite", ridge)
    finite = np.isfinite(train.numpy()).all(axis=(1, 2))[:, None, None]
    # In float64: saturated units repeat each other; in float32 a small ridge is lost beside their squares.
    a = tf.cast(nets.with_ones(tf.where(finite, train, tf.zeros_like(train))), tf.float64)
    gram = tf.matmul(a, a, transpose_a=True) + ridge * a.shape[1] * tf.eye(a.shape[2], dtype=a.dtype)
    layer = tf.linalg.solve(gram, tf.einsum("mni,nk->mik", a, tf.constant(targets, a.dtype)))
    return tf.cast(tf.where(finite, layer, np.nan), train.dtype)
