"""Views of the loss over the weights: straight segments, and slices that are scaled filter by filter.

Networks are rows of parameters here, as `lib.curvature.flat` gives them.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lib import curvature
from lib.backend import tf


def segment(start: np.ndarray, end: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Networks on the straight line: start + share (end - start), (S, P) for shares (S,) and ends (P,)."""
    return start + np.asarray(shares)[:, None] * (np.asarray(end) - start)


def barrier(losses: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """How far the loss rises above the straight line between its ends: max of L(s) - (1 - s) L(0) - s L(1).

    Args:
        losses: Along one segment or several (..., S).
        shares: Of the way (S,), rising from 0 to 1, both among them.

    Returns:
        (...), 0 or more: 0 where the loss nowhere rises above the line.

    Raises:
        ValueError: The shares do not rise from 0 to 1, or the losses are not as many.

    Source: Entezari et al. 2022, equation 1.
    """
    losses, shares = np.asarray(losses, np.float64), np.asarray(shares, np.float64)
    rising = shares.ndim == 1 and len(shares) >= 2 and (np.diff(shares) > 0).all()
    if not rising or shares[0] != 0 or shares[-1] != 1 or losses.shape[-1:] != shares.shape:
        got = f"{shares} for losses {losses.shape}"
        raise ValueError(f"shares must rise from 0 to 1, one for each loss, got {got}")
    line = losses[..., :1] + shares * (losses[..., -1:] - losses[..., :1])
    return (losses - line).max(axis=-1)


def principal(path: np.ndarray) -> tuple[np.ndarray, float]:
    """The two directions along which a path of networks extends most, and how much of it they hold.

    Args:
        path: Networks (W, P), at least three, not all alike.

    Returns:
        Two orthogonal directions of norm 1 (2, P), and the share of the squared distances from the path's
        mean that lies in their plane, 0 to 1.

    Raises:
        ValueError: Fewer than three networks, one is not finite, or the path does not move.
    """
    path = np.asarray(path, np.float64)
    if path.ndim != 2 or len(path) < 3 or not np.isfinite(path).all():
        raise ValueError(f"path must be at least three finite networks (W, P), got shape {path.shape}")
    if (path == path[0]).all():
        raise ValueError("path must move, got networks that are all alike")
    _, sizes, directions = np.linalg.svd(path - path.mean(axis=0), full_matrices=False)
    return directions[:2], float((sizes[:2] ** 2).sum() / (sizes**2).sum())


def filter_normalised(directions: np.ndarray, origin: np.ndarray, like: Sequence[tf.Tensor]) -> np.ndarray:
    """Directions whose filters have the norms of the origin's filters: those of one unit with its bias.

    So a step of 1 changes every unit as much as it is large, and slices through different networks can be
    compared: a rectifier's loss does not change when a filter is made larger and the next layer smaller.

    Args:
        directions: (D, P).
        origin: A network (P,).
        like: Layers (M, n_in + 1, n_out) that give the shapes.

    Returns:
        (D, P). A filter of zeros, in a direction or in the origin, gives zeros.

    Source: Li et al. 2018, Visualizing the loss landscape of neural nets.
    """
    result = []
    for d, w in zip(curvature.unflat(directions, like), curvature.unflat(origin[None], like), strict=True):
        d, w = tf.cast(d, tf.float64), tf.cast(w, tf.float64)  # float32 has no squares below 1e-45
        sizes = tf.norm(w, axis=1, keepdims=True)
        result.append(tf.math.divide_no_nan(d, tf.norm(d, axis=1, keepdims=True)) * sizes)
    return curvature.flat(result).numpy().astype(np.float64)


def coordinates(path: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Nearest points of the plane origin + x d_1 + y d_2 to each network of a path: (W, 2)."""
    away = np.asarray(path, np.float64) - origin
    return np.linalg.lstsq(np.asarray(directions, np.float64).T, away.T, rcond=None)[0].T


def slice_rows(origin: np.ndarray, directions: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Networks on a grid in the plane: (len(y) len(x), P), row by row."""
    steps = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], axis=1)
    return origin + steps @ directions


def losses(
    rows: np.ndarray, like: Sequence[tf.Tensor], loss: Callable[[Sequence[tf.Tensor]], np.ndarray], chunk: int
) -> np.ndarray:
    """Loss of each network in rows (S, P), computed this many at a time: (S,).

    Args:
        rows: Networks (S, P).
        like: Layers (M, n_in + 1, n_out) that give the shapes.
        loss: Layers of ``chunk`` members to losses (M,).
        chunk: At a time; the last ones are filled up with copies, so that one graph serves all.
    """
    result = []
    for i in range(0, len(rows), chunk):
        part = rows[i : i + chunk]
        full = np.concatenate([part, np.repeat(part[-1:], chunk - len(part), axis=0)])
        result.append(np.asarray(loss(curvature.unflat(full, like)))[: len(part)])
    return np.concatenate(result)
