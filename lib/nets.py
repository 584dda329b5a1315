"""Many fully connected networks at once: layers, initialisation, forward pass.

A network is a tuple of layers. A layer is one tensor of shape (M, n_in + 1, n_out) for M members: the
weights, with the bias as the last row. So a layer's whole set of parameters is one tensor, and a bias needs
no case of its own in training, in distances or in norms.
"""

import functools
from collections.abc import Sequence

import numpy as np

from lib import checks
from lib.backend import tf

ACTIVATIONS = {"tanh": tf.tanh, "sigmoid": tf.sigmoid, "relu": tf.nn.relu}


def shapes(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Shapes (n_in + 1, n_out) of the layers between consecutive sizes.

    Args:
        sizes: Units of input, hidden layers and output, at least two, each at least 1.

    Raises:
        ValueError: A size is not a positive integer, or there are fewer than two.
    """
    if len(sizes) < 2 or any(not isinstance(s, (int, np.integer)) or s < 1 for s in sizes):
        raise ValueError(f"sizes must be at least two positive integers, got {list(sizes)}")
    return [(int(a) + 1, int(b)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]


def truncated_normal(
    seeds: Sequence[int], layers: Sequence[tuple[int, int]], sd: float, bias: float, stream: int = 0
) -> tuple[tf.Tensor, ...]:
    """Layers with weights from a normal distribution cut at two standard deviations, and constant biases.

    Member k depends on ``seeds[k]`` and ``stream`` alone, never on who else is in the ensemble.

    Args:
        seeds: One seed for each of the M members, 0 to 2**31 - 1.
        layers: Shapes (n_in + 1, n_out), as from `shapes`.
        sd: Standard deviation of the normal distribution before the cut.
        bias: Value of every bias.
        stream: From `lib.streams.weights`: an independent sequence of draws for the same seeds.

    Returns:
        One float32 tensor (M, n_in + 1, n_out) for each shape.

    Raises:
        ValueError: A seed is out of range, sd is not positive and finite, or the bias is not finite.

    Source: TensorFlow's ``tf.random.stateless_truncated_normal``, counter-based: the same for one version of
    TensorFlow on one kind of processor, which is all that it promises.
    """
    checks.seeds(seeds)
    checks.must(0 < sd < np.inf, "sd", "above 0 and finite", sd)
    checks.must(np.isfinite(bias), "bias", "finite", bias)
    draw = functools.partial(tf.random.stateless_truncated_normal, stddev=sd)
    weights = _drawn(draw, seeds, [(rows - 1, columns) for rows, columns in layers], stream)
    biases = [tf.fill((len(seeds), 1, w.shape[2]), tf.constant(bias, tf.float32)) for w in weights]
    return tuple(tf.concat(both, axis=1) for both in zip(weights, biases, strict=True))


def _drawn(draw, seeds, shapes, stream):
    """Tensors (M, *shape), from one sequence of draws for each member."""
    counts = [rows * columns for rows, columns in shapes]
    draws = tf.stack([draw([sum(counts)], seed=[seed, stream]) for seed in seeds])
    pieces = tf.split(draws, counts, axis=1)
    return [tf.reshape(p, (len(seeds), *shape)) for p, shape in zip(pieces, shapes, strict=True)]


def normal(
    seeds: Sequence[int], layers: Sequence[tuple[int, int]], stream: int = 0, dtype: tf.DType = tf.float64
) -> tuple[tf.Tensor, ...]:
    """Layers with weights and biases from the standard normal distribution, not scaled by any width.

    Drawn in float64 and then rounded, so that both precisions start from the same networks. Member k depends
    on ``seeds[k]`` and ``stream`` alone.

    Args:
        seeds: One seed for each of the M members, 0 to 2**31 - 1.
        layers: Shapes (n_in + 1, n_out), as from `shapes`.
        stream: From `lib.streams.weights`: an independent sequence of draws for the same seeds.
        dtype: Float type of the layers.

    Returns:
        One tensor (M, n_in + 1, n_out) for each shape.

    Raises:
        ValueError: A seed is out of range.

    Source: M. Nielsen, Neural Networks and Deep Learning, chapter 1, ``network.py``.
    """
    checks.seeds(seeds)
    draw = functools.partial(tf.random.stateless_normal, dtype=tf.float64)
    return tuple(tf.cast(w, dtype) for w in _drawn(draw, seeds, layers, stream))


def with_ones(values: tf.Tensor) -> tf.Tensor:
    """Append a column of ones, which the bias row of the next layer multiplies: (..., n) to (..., n + 1)."""
    return tf.concat([values, tf.ones_like(values[..., :1])], axis=-1)


def wide(layer: tf.Tensor) -> tf.Tensor:
    """All members' layers side by side, for one shared product: (M, n_in, n_out) to (n_in, M * n_out)."""
    return tf.concat(tf.unstack(layer), axis=1)


def stacked(values: tf.Tensor, members: int) -> tf.Tensor:
    """The inverse of `wide`: (N, M * n_out) to (M, N, n_out)."""
    return tf.stack(tf.split(values, members, axis=1))


def free(x: tf.Tensor, *axes: int) -> tf.TensorSpec:
    """A tensor's type for any length along these axes: one graph then serves all lengths."""
    shape = list(x.shape)
    for axis in axes:
        shape[axis] = None
    return tf.TensorSpec(shape, x.dtype)


@tf.function(autograph=False)  # a graph for each set of shapes, which the products side by side need
def _forward(layers, inputs, hidden):
    values = stacked(tf.matmul(inputs, wide(layers[0])), layers[0].shape[0])
    outputs = [values]
    for layer in layers[1:]:
        outputs[-1] = ACTIVATIONS[hidden](outputs[-1])
        outputs.append(tf.matmul(with_ones(outputs[-1]), layer))
    return tuple(outputs)


def forward(layers: Sequence[tf.Tensor], x: np.ndarray, hidden: str) -> tuple[tf.Tensor, ...]:
    """Activations of every hidden layer and the output's pre-activation, on shared inputs.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        x: Inputs (N, D), or tensor of the same type as the layers.
        hidden: Name in `ACTIVATIONS` of the hidden units' activation.

    Returns:
        L tensors (M, N, n_out): hidden activations, and last the pre-activation of the output.

    Raises:
        ValueError: Unknown activation, or the inputs' width does not fit the first layer.
    """
    checks.choice(ACTIVATIONS)("hidden", hidden)
    inputs = tf.convert_to_tensor(x, layers[0].dtype)
    if inputs.shape[-1] + 1 != layers[0].shape[1]:
        raise ValueError(f"x has {inputs.shape[-1]} columns, the first layer takes {layers[0].shape[1] - 1}")
    return _forward(tuple(layers), with_ones(inputs), hidden)
