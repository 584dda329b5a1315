"""Descent with a part of its noise: networks that go on as in `lib.train`, but nearer to full batches.

A batch's gradient is that of all images and noise. Here all gradients are known at an *anchor*, the network
at some time before; the noise of the same batch there is much the same as here, and is taken off, all of it
or a part. What is left is the noise of the little way since the anchor.

Source: R. Johnson and T. Zhang 2013, Accelerating stochastic gradient descent using predictive variance
reduction (SVRG), for all of it.
"""

import functools
from collections.abc import Sequence

import numpy as np

from lib import nets, train
from lib.backend import tf

Layers = Sequence[tf.Tensor]


def fit(
    layers: Layers,
    anchors: Layers,
    pull: Layers,
    inputs: train.Inputs,
    targets: np.ndarray,
    batches: np.ndarray,
    rates: Sequence[float],
    decays: Sequence[float],
    noises: Sequence[float],
    loss: str,
) -> tuple[tf.Tensor, ...]:
    """Train M networks of rectifiers for T steps on the mean loss of each batch, with a part of its noise.

    With gradients g of the batch and f of all images, a step goes along g(w) - (1 - s) (g(a) - f(a)), where a
    is the anchor and s the part of the noise's size that is left.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        anchors: In the same shapes: where all gradients are known.
        pull: The anchors' `lib.train.gradient` of all images.
        inputs: N training inputs, shared by all members.
        targets: (N, K).
        batches: Example numbers, int (T, B), shared by all members.
        rates: Learning rate of each member (M,).
        decays: L2 coefficient of each member (M,), for its weights without biases.
        noises: What is left of the noise's variance, for each member (M,): 1 is plain descent, 0.1 has about
            the noise of batches that are ten times as large.
        loss: Name in `lib.train.LOSSES`.
    """
    off = 1 - np.sqrt(np.asarray(noises))
    rates, decays, off = (tf.constant(v, layers[0].dtype) for v in (rates, decays, off))
    pull = [g * (rates * off)[:, None, None] for g in pull]
    shown = np.pad(batches, ((0, -len(batches) % train.LONG), (0, 0)))  # one program serves all lengths
    wide, *others = ((nets.wide(each[0]), *each[1:]) for each in (layers, anchors, pull))
    found = _loop(
        tf.constant(len(batches)),
        wide,
        loss,
        *others,
        inputs.whole,
        tf.constant(targets),
        tf.constant(shown, tf.int32),
        rates / batches.shape[1],
        rates * decays,
        off,
    )
    return nets.stacked(found[0], layers[0].shape[0]), *found[1:]


def _weights(w):
    """1 for weights and 0 for biases, which stand in the last row."""
    return tf.one_hot(w.shape[-2] - 1, w.shape[-2], 0.0, 1.0, dtype=w.dtype)[:, None]


def _step(i, layers, loss, anchors, pull, inputs, targets, batches, rates, shrink, off):
    members, chosen = layers[1].shape[0], batches[i]
    rows, target = tf.gather(inputs, chosen), tf.gather(targets, chosen)
    here, there = (
        train.back(each, nets.stacked(tf.matmul(rows, each[0]), members), target, "relu", loss)
        for each in (layers, anchors)
    )
    rates, shrink, off = (v[:, None, None] for v in (rates, shrink, off))
    d = nets.wide(rates * (here[1][0] - off * there[1][0]))
    # term by term: the weights are then read and written once, and nothing between
    change = sum(rows[k][:, None] * d[k] for k in range(rows.shape[0])) + pull[0]
    wide = tf.repeat(tf.squeeze(shrink, (1, 2)), layers[0].shape[1] // members)
    result = [layers[0] - change - wide * _weights(layers[0]) * layers[0]]
    for k, w in enumerate(layers[1:]):
        g, a = (tf.matmul(below[k], ds[k + 1], transpose_a=True) for below, ds in (here, there))
        result.append(w - rates * (g - off * a) - pull[k + 1] - shrink * _weights(w) * w)
    return i + 1, tuple(result)


@functools.partial(tf.function, autograph=False, jit_compile=True)
def _loop(count, layers, *given):
    return tf.while_loop(
        lambda i, _: i < count,
        lambda i, layers: _step(i, layers, *given),
        (tf.constant(0), layers),
        parallel_iterations=1,
    )[1]
