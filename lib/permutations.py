"""Copies of a network with its hidden neurons in another order, which compute the same function.

Networks are lists of float arrays (M, n_in + 1, n_out), one for each layer, the bias in the last row, as in
`lib.nets`; M of them are treated at once, each for itself. A neuron stands for all of its weights: those that
come in, its bias, and those that go out.

The channels of a convolutional network, as in `lib.convnets`, are neurons as well. The layer above sees each
at several pixels: those of its kernel, or of the map that is flattened. So its rows are those of the first
pixel, one for each channel, then those of the second, and so on, and a channel takes its rows of all pixels
along.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist

Network = Sequence[np.ndarray]
ROUNDS = 100  # of assignments of all layers at most


def neurons(layers: Network, k: int = 0) -> np.ndarray:
    """All weights of each neuron of hidden layer k, one row each: (M, n, n_in + 1 + pixels above n_out)."""
    n = layers[k].shape[2]
    out = np.swapaxes(_by_pixel(layers[k + 1][:, :-1], n), 1, 2)
    return np.concatenate([np.swapaxes(layers[k], 1, 2), out.reshape(len(out), n, -1)], axis=2)


def _by_pixel(rows: np.ndarray, n: int) -> np.ndarray:
    """Weights without biases (M, pixels n, n_out) of a layer that sees n neurons: (M, pixels, n, n_out)."""
    return rows.reshape(len(rows), rows.shape[1] // n, n, rows.shape[2])  # of no networks as well


def permuted(
    layers: Network, orders: Sequence[np.ndarray], signs: Sequence[np.ndarray] | None = None
) -> list[np.ndarray]:
    """The copy whose neuron i of hidden layer k is neuron ``orders[k][i]``, times ``signs[k][i]``.

    Args:
        layers: L layers.
        orders: For each of the L - 1 hidden layers a permutation (n,), or one for each member (M, n).
        signs: Likewise, 1 or -1; for odd units, such as tanh. Default all 1.

    Raises:
        ValueError: There are not L - 1 permutations of the hidden layers' sizes.
    """
    layers = [np.asarray(w) for w in layers]
    sizes = [w.shape[2] for w in layers[:-1]]
    orders = [np.atleast_2d(o) for o in orders]
    whole = all((np.sort(o, axis=1) == range(o.shape[1])).all() for o in orders)
    if not whole or [o.shape[1] for o in orders] != sizes:
        raise ValueError(f"orders must hold a permutation for each hidden layer, of sizes {sizes}")
    for k, order in enumerate(orders):
        layers[k] = np.take_along_axis(layers[k], order[:, None], axis=2)
        rows = layers[k + 1].shape[1] - 1
        whole = (np.arange(0, rows, sizes[k])[:, None] + order[:, None]).reshape(len(order), rows)
        whole = np.concatenate([whole, np.full((len(order), 1), rows)], axis=1)  # the bias stays last
        layers[k + 1] = np.take_along_axis(layers[k + 1], whole[:, :, None], axis=1)
        if signs is not None:
            sign = np.atleast_2d(signs[k]).astype(layers[k].dtype)
            layers[k] = layers[k] * sign[:, None]
            turned = _by_pixel(layers[k + 1][:, :-1], sizes[k]) * sign[:, None, :, None]
            turned = turned.reshape(layers[k + 1][:, :-1].shape)
            layers[k + 1] = np.concatenate([turned, layers[k + 1][:, -1:]], axis=1)
    return layers


def distance(a: Network, b: Network) -> np.ndarray:
    """Euclidean distance between the weights of two networks, all layers together: (M,)."""
    return np.sqrt(sum(((np.asarray(v, float) - w) ** 2).sum(axis=(1, 2)) for v, w in zip(a, b, strict=True)))


def nearest_copy(layers: Network, among: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Distance to the nearest copy that has another order.

    It is sqrt(2) times the smallest distance between two neurons of a layer: whoever moves more than two
    neurons moves each at least as far. Exact for one hidden layer; for more, the nearest copy in which only
    one layer has another order.

    Args:
        layers: L layers.
        among: For each of the L - 1 hidden layers, which neurons may change places (M, n); default all. Two
            that are off for every image can, and nobody would notice.

    Returns:
        (M,); infinite where no layer has two neurons to exchange.
    """
    smallest = np.full(len(layers[0]), np.inf)
    for k in range(len(layers) - 1):
        for m, rows in enumerate(neurons(layers, k)):
            rows = rows if among is None else rows[among[k][m]]
            # by differences: |a|^2 + |b|^2 - 2 a.b would lose the digits that two near neurons share
            smallest[m] = np.minimum(smallest[m], pdist(rows).min(initial=np.inf))
    return np.sqrt(2) * smallest


def mean_copy(layers: Network) -> np.ndarray:
    """Root of the mean squared distance to all copies, the network itself among them: (M,). Exact.

    For one hidden layer it is the root of 2 sum_i |u_i - mean u|^2 over the neurons u_i.
    """
    total, last = 0.0, len(layers) - 1
    for k, w in enumerate(np.asarray(w, float) for w in layers):
        weights = _by_pixel(w[:, :-1], layers[k - 1].shape[2] if k else w.shape[1] - 1)
        bias = w[:, None, -1:]
        moved = tuple(axis for axis, moves in ((2, k > 0), (3, k < last)) if moves)
        for part, axes in ((weights, moved), (bias, tuple(a for a in moved if a == 3))):
            if axes:
                total = total + ((part - part.mean(axis=axes, keepdims=True)) ** 2).sum(axis=(1, 2, 3))
    return np.sqrt(2 * total)


def swap_margin(before: Network, after: Network, among: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """How much the squared distance grows at least when two neurons of the later network are swapped: (M,).

    Swapping i and j adds 2 (u_i - u_j) . (v_i - v_j), with neurons u before and v after. Below zero, a swap
    brings the later network nearer to the earlier one. Infinite where no layer has two neurons to exchange.

    Args:
        before: L layers.
        after: L layers of the same shapes.
        among: Which neurons may change places, as for `nearest_copy`; default all.
    """
    margins = []
    for k in range(len(before) - 1):
        u, v = (np.asarray(neurons(n, k), float) for n in (before, after))
        inner = u @ np.swapaxes(v, 1, 2)
        own = np.einsum("mii->mi", inner)
        change = 2 * (own[:, :, None] + own[:, None] - inner - np.swapaxes(inner, 1, 2))
        free = np.full(u.shape[:2], True) if among is None else among[k]
        change = np.where(free[:, :, None] & free[:, None], change, np.inf)
        change[:, range(u.shape[1]), range(u.shape[1])] = np.inf
        margins.append(change.min(axis=(1, 2)))
    return np.min(margins, axis=0)


def match(fixed: Network, moving: Network) -> list[np.ndarray]:
    """Orders of the neurons of one network that bring it near to another: for each hidden layer (M, n).

    With one hidden layer the nearest of all copies, by one linear assignment. With more, the layers are
    assigned in turn until none changes, or for `ROUNDS`: each step brings the copy nearer, but it need not be
    the nearest of all. A network that is not finite stays as it is.

    Source: Ainsworth et al. 2022, arXiv 2209.04836 (weight matching).
    """
    return match_odd(fixed, moving, odd=False)[0]


def match_odd(fixed: Network, moving: Network, odd: bool = True) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """`match` for odd units, which may be turned round as well: orders and signs for `permuted`."""
    fixed, moving = ([np.asarray(w, float) for w in n] for n in (fixed, moving))
    members, sizes = len(fixed[0]), [w.shape[2] for w in fixed[:-1]]
    orders = [np.tile(np.arange(n), (members, 1)) for n in sizes]
    signs = [np.ones((members, n)) for n in sizes]
    for m in range(members):
        target, source = ([w[m : m + 1] for w in n] for n in (fixed, moving))
        if not all(np.isfinite(w).all() for w in (*target, *source)):
            continue
        for _ in range(ROUNDS):
            changed = False
            for k, n in enumerate(sizes):
                now = permuted(source, [o[m] for o in orders], [s[m] for s in signs])
                inner = neurons(target, k)[0] @ neurons(now, k)[0].T
                _, best = linear_sum_assignment(np.abs(inner) if odd else inner, maximize=True)
                turn = np.where(odd & (inner[np.arange(n), best] < 0), -1.0, 1.0)
                changed |= bool((best != np.arange(n)).any() or (turn < 0).any())
                orders[k][m], signs[k][m] = orders[k][m][best], signs[k][m][best] * turn
            if not changed or len(sizes) == 1:
                break
    return orders, signs
