"""Curvature of the loss of many networks at once: Hessian products, the largest eigenvalue, sharpness.

Functions take functions: a loss of layers, a product of vectors. So each can be tried on a quadratic.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lib import checks
from lib.backend import tf

Layers = Sequence[tf.Tensor]


def flat(layers: Layers) -> tf.Tensor:
    """All parameters of each member in one row: (M, P)."""
    return tf.concat([tf.reshape(w, (w.shape[0], -1)) for w in layers], axis=1)


def unflat(rows: tf.Tensor, like: Layers) -> tuple[tf.Tensor, ...]:
    """The inverse of `flat`, in the shapes of ``like``; M may differ."""
    counts = [w.shape[1] * w.shape[2] for w in like]
    pieces = tf.split(tf.convert_to_tensor(rows, like[0].dtype), counts, axis=1)
    return tuple(tf.reshape(p, (-1, *w.shape[1:])) for p, w in zip(pieces, like, strict=True))


def products(loss: Callable[..., tf.Tensor]) -> Callable:
    """A function that gives gradient g and Hessian product H v of each member's loss.

    H v is the gradient of g.v (Pearlmutter 1994), about the cost of two gradients; no Hessian is formed. The
    same call gives the same bits. For that, sums are added in pairs and as written: TensorFlow would put them
    together into one of many terms (AddN), whose order depends on which of their buffers happens to be free.

    Args:
        loss: ``loss(layers, *data)`` gives losses (M,), each of one member only; differentiable twice.

    Returns:
        ``function(layers, vectors, *data)`` of tensors gives g and H v, both in the shapes of the layers, L
        tensors (M, n_in + 1, n_out), as the vectors v are; with None for the vectors, g and H g. H is
        symmetric where the loss is twice differentiable.
    """

    @tf.function(autograph=False)
    def graph(layers, vectors, *data):
        how = {"unconnected_gradients": "zero", "aggregation_method": tf.AggregationMethod.EXPERIMENTAL_TREE}
        gradient = tf.gradients(loss(layers, *data), layers, **how)
        vectors = [tf.stop_gradient(g) for g in gradient] if vectors is None else vectors
        along = [tf.reduce_sum(g * v) for g, v in zip(gradient, vectors, strict=True)]
        return tuple(gradient), tuple(tf.gradients(along, layers, **how))

    def function(layers, vectors, *data):
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
        try:
            return graph(tuple(layers), None if vectors is None else tuple(vectors), *data)
        finally:
            tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})

    return function


# batches that batch sharpness is measured on, if there are as many: more of small ones, up to so many images
MET = 10, 25, 250


def batch_sharpness(
    met: Callable[[slice], tuple], count: int, batch: int, most: int | None = None
) -> np.ndarray:
    """Mean of g'Hg / |g|^2 over batches (M,).

    Args:
        met: Gives both, each (M,), for a slice of the images.
        count: Number of images.
        batch: Images in a batch.
        most: Batches at most; default as `MET` says.
    """
    size = min(batch, count)
    some = min(count // size, most or max(MET[0], min(MET[2] // size, MET[1])))
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = [met(slice(i, i + size)) for i in range(0, some * size, size)]
        ratios = np.array([np.asarray(along) / np.asarray(square) for along, square in pairs])
    return np.ma.filled(np.ma.masked_invalid(ratios).mean(axis=0), np.nan)


SETTLED = 5  # products more once a residual is small: in 600 spectra with outliers, 27 of the values that had
# settled on a smaller eigenvalue, more than 1 % below the top, then went on to the top; with 3, all but two


class Top(NamedTuple):
    """Largest eigenvalue of a symmetric matrix, for each member.

    Attributes:
        value: Ritz value (M,): never above the eigenvalue.
        residual: |A u - value u| (M,), from a product of u itself: an eigenvalue lies within this distance.
        vector: Ritz vector u (M, P), of norm 1.
    """

    value: np.ndarray
    residual: np.ndarray
    vector: np.ndarray


def top_eigenvalue(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, iterations: int, tolerance: float
) -> Top:
    """Largest (not: of largest magnitude) eigenvalue, by Lanczos with full reorthogonalisation.

    Args:
        product: (M, P) to (M, P): each member's own symmetric matrix times its row.
        start: First vectors (M, P), none zero; random, so that no eigenvector is missed.
        iterations: At most this many products, at least 1, and one more for the residual.
        tolerance: A member ends when its residual has been below this part of its value for `SETTLED`
            products more; a smaller eigenvalue can look settled before the top one shows. What the others
            still need does not change it.

    Returns:
        The eigenvalue, its residual and its vector; NaN for a member whose products are not finite.

    Raises:
        ValueError: start is not a matrix with rows that are not zero, or the other two are not positive.

    Accuracy: value <= eigenvalue, and the error is at most the residual if that eigenvalue is the nearest.

    Source: C. Lanczos 1950; reorthogonalisation as in Golub and Van Loan, Matrix Computations, section 10.3.
    """
    start = np.asarray(start, np.float64)
    if start.ndim != 2 or not (np.isfinite(start).all() and start.any(axis=1).all()):
        raise ValueError("start must be a finite matrix (M, P) without a row of zeros")
    iterations = checks.whole(1, 10**9)("iterations", iterations)
    checks.must(0 < tolerance < np.inf, "tolerance", "above 0 and finite", tolerance)
    members, size = start.shape
    fine, ended, settled = np.ones(members, bool), np.zeros(members, bool), np.zeros(members, int)
    most = min(iterations, size)
    basis, mix = np.zeros((members, most, size)), np.zeros((members, most))
    value = np.zeros(members)
    basis[:, 0] = start / np.linalg.norm(start, axis=1, keepdims=True)
    diagonal, off = np.zeros((members, most)), np.zeros((members, most))
    for k in range(most):
        w = np.asarray(product(basis[:, k]), np.float64)
        fine &= np.isfinite(w).all(axis=1)
        w = np.where(fine[:, None], w, 0)
        diagonal[:, k] = np.einsum("mp,mp->m", w, basis[:, k])
        for _ in range(2):  # twice is enough, once is not
            w -= np.einsum("mk,mkp->mp", np.einsum("mkp,mp->mk", basis[:, : k + 1], w), basis[:, : k + 1])
        off[:, k] = np.linalg.norm(w, axis=1)
        small = np.zeros((members, k + 1, k + 1))
        index = np.arange(k + 1)
        small[:, index, index] = diagonal[:, : k + 1]
        small[:, index[1:], index[:-1]] = small[:, index[:-1], index[1:]] = off[:, :k]
        values, vectors = np.linalg.eigh(small)
        going = ~ended  # who has ended keeps what was found then
        value[going] = values[going, -1]
        mix[going, : k + 1] = vectors[going, :, -1]
        # a space that the products do not leave is exhausted: its values are exact
        ended |= off[:, k] <= np.finfo(np.float32).eps * np.abs(values).max(axis=1)
        small_enough = off[:, k] * np.abs(vectors[:, k, -1]) <= tolerance * np.abs(values[:, -1])
        settled = np.where(small_enough, settled + 1, 0)
        ended |= (settled > SETTLED) | ~fine
        if ended.all():
            break
        if k + 1 < most:
            basis[:, k + 1] = np.where(ended[:, None], 0, w / np.where(ended, 1, off[:, k])[:, None])
    vector = np.einsum("mk,mkp->mp", mix, basis)
    # what Lanczos tells of the residual knows nothing of the products' own rounding
    left = np.asarray(product(vector), np.float64)
    fine &= np.isfinite(left).all(axis=1)
    residual = np.linalg.norm(np.where(fine[:, None], left - value[:, None] * vector, 0), axis=1)
    nan = np.where(fine, 1.0, np.nan)
    return Top(value * nan, residual * nan, vector * nan[:, None])
