"""Arrays that are the same, to the bit."""

import numpy as np


def arrays(layers):
    return [np.asarray(layer) for layer in layers]


def same(a, b, members=...):
    """Of two lists of arrays or two dictionaries of them, these rows; what is no number is as itself."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and same(a.values(), [b[name] for name in a], members)
    return all(
        u.dtype == v.dtype and np.array_equal(u[members], v[members], equal_nan=True)
        for u, v in zip(arrays(a), arrays(b), strict=True)
    )
