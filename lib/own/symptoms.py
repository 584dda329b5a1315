"""What is measured on sequential networks to say what is wrong: losses, slopes, gradients, curvature."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lib import curvature, diagnose, streams
from lib.backend import tf
from lib.own import sequential
from lib.own.sequential import ACTIVATIONS, Net, Rule

PIECE = 250  # images at a time: their activations then stay near the processor
CURVED = 250  # images that curvature and the first step are measured on
PRODUCTS, TOLERANCE = 12, 0.05  # at most, and residual: an eigenvalue to about five per cent
# Mean slope of a unit over the images, as a part of the largest, below which it is lost. Rectifiers are lost
# at 0; for the others see TRAINABLE in `lib.questions.breaks`.
LOST = 1e-5


class Symptoms(NamedTuple):
    """Of M networks with L layers of weights, A activations (the last the output's) and K outputs.

    Attributes:
        loss: Mean over the images (M,).
        level: Loss of the best output that ignores the image (M,), the same for all.
        accuracy: In % (M,); an output that is not finite is wrong.
        predicted: Share of the images that each class gets (M, K).
        slope: Mean slope of an activation over units and images, as a part of the largest (M, A); NaN where a
            gradient always gets through, as with LeakyReLU, or softmax under cross-entropy.
        lost: Share of units without a slope: dead rectifiers, saturated sigmoids (M, A); NaN likewise.
        gradient: Norm of each layer's gradient of the mean loss (M, L).
        nonzero: Share of its entries that are not zero to the bit (M, L).
        norm: Of each layer's weights and biases (M, L).
        stride: How far a first step by the rate moves the pre-activations, root of the mean square, in widths
            of the activation's slope: 4 for a sigmoid, 2 for a tanh, else the root of their own (M, A).
        gain: Part of the loss that this step would take off if the loss were straight (M,).
        sharpness: Largest eigenvalue of the Hessian of the mean loss (M,); NaN where not asked for.
        batch_sharpness: Mean of g'Hg / |g|^2 over batches, with a batch's gradient and Hessian (M,).
        finite: Whether all weights and the loss are (M,).
    """

    loss: np.ndarray
    level: np.ndarray
    accuracy: np.ndarray
    predicted: np.ndarray
    slope: np.ndarray
    lost: np.ndarray
    gradient: np.ndarray
    nonzero: np.ndarray
    norm: np.ndarray
    stride: np.ndarray
    gain: np.ndarray
    sharpness: np.ndarray
    batch_sharpness: np.ndarray
    finite: np.ndarray


def measure(
    layers: Sequence[tf.Tensor],
    x: np.ndarray,
    labels: np.ndarray,
    *,
    net: Net,
    rule: Rule,
    rate: float,
    batch: int,
    seeds: Sequence[int],
    curved: bool = True,
) -> Symptoms:
    """Look at networks on images.

    Args:
        layers: L tensors (M, n_in + 1, n_out), float32.
        x: Images (N, H, W, C), float32.
        labels: Whole numbers from 0 to K - 1 (N,).
        net: Of the networks.
        rule: How they are trained; tells how long a first step is.
        rate: Learning rate.
        batch: Images in a batch.
        seeds: One for each member, for where the search for an eigenvalue starts.
        curved: Whether to measure curvature, which takes most of the time.

    Returns:
        The symptoms. Dropout drops nothing.
    """
    layers = tuple(layers)
    x, labels = tf.convert_to_tensor(x), tf.constant(labels, tf.int32)
    parts = [_seen(net)(layers, x[i : i + PIECE], labels[i : i + PIECE]) for i in range(0, len(x), PIECE)]
    total, z, a, gradient, slopes = zip(*parts, strict=True)
    z, a = (np.concatenate(each, axis=1) for each in (z, a))
    guess = diagnose.guess(z, a)
    gradient, slopes = (
        [sum(v.numpy().astype(np.float64) for v in each) / len(x) for each in zip(*of, strict=True)]
        for of in (gradient, slopes)
    )
    loss = sum(t.numpy().astype(np.float64) for t in total) / len(x)
    found = [lost(net.steps[k][0], slope) for k, slope in zip(net.units, slopes, strict=True)]
    some, of = x[:CURVED], labels[:CURVED]
    nan = np.full(len(loss), np.nan)
    step = first_step(gradient, rule, rate)
    return Symptoms(
        loss=loss,
        level=np.full(len(loss), net.level(labels.numpy())),
        accuracy=100 * (guess == labels.numpy()).mean(axis=1),
        predicted=np.stack([(guess == c).mean(axis=1) for c in range(net.classes)], axis=1),
        slope=np.stack([s.mean(axis=1) for s in slopes], axis=1),
        lost=np.stack(found, axis=1),
        gradient=np.stack([np.sqrt((g * g).sum(axis=(1, 2))) for g in gradient], axis=1),
        nonzero=np.stack([(g != 0).mean(axis=(1, 2)) for g in gradient], axis=1),
        norm=diagnose.norms(layers),
        stride=_stride(layers, step, some, net),
        gain=gain(gradient, step, loss),
        sharpness=_sharpness(layers, some, of, net, seeds) if curved else nan,
        batch_sharpness=_batch_sharpness(layers, x, labels, net, batch) if curved else nan,
        finite=diagnose.finite(layers) & np.isfinite(loss),
    )


def accuracy(layers: Sequence[tf.Tensor], x: tf.Tensor, labels: np.ndarray, net: Net) -> np.ndarray:
    """Accuracy of each network on images (N, *image) in % (M,)."""
    right = 0.0
    for i in range(0, len(x), PIECE):
        z, a = _outputs(net)(tuple(layers), x[i : i + PIECE])
        right = right + (diagnose.guess(z.numpy(), a.numpy()) == labels[i : i + PIECE]).sum(axis=1)
    return 100 * right / len(x)


def edge(found: Symptoms, rule: Rule, rate: float) -> np.ndarray:
    """Rate times sharpness, or batch sharpness where that is larger: steps are unstable above 2 (M,).

    With momentum m the bound is 2 (1 + m) (Cohen et al. 2021), so the product is divided by 1 + m. NaN for
    optimisers whose steps are no multiple of the gradient.
    """
    sharp = np.fmax(found.sharpness, found.batch_sharpness)
    along = {"sgd": 1.0, "momentum": 1 + rule.momentum}
    return rate * sharp / along.get(rule.optimiser, np.nan)


@functools.lru_cache(maxsize=32)
def _outputs(net: Net):
    return tf.function(lambda layers, x: sequential.forward(layers, x, net)[-1], autograph=False)


@functools.lru_cache(maxsize=32)
def _seen(net: Net):
    def slope(k, z, h):
        name, *numbers = net.steps[k]
        if (found := ACTIVATIONS[name].slope) is None or (k == net.units[-1] and net.fitting):
            return tf.fill((z.shape[0], z.shape[-1]), np.float32(np.nan))
        places = list(range(1, z.shape.rank - 1))
        return tf.reduce_sum(tf.reduce_mean(found(z, h), axis=places[1:]), axis=1)

    @tf.function(autograph=False)
    def seen(layers, x, labels):
        with tf.GradientTape() as tape:
            tape.watch(layers)
            values = sequential.forward(layers, x, net)
            total = tf.reduce_sum(sequential.losses(net, *values[-1], labels), axis=1)
        slopes = [slope(k, z, h) for k, (z, h) in zip(net.units, values, strict=True)]
        return total, *values[-1], tape.gradient(total, layers), slopes

    return seen


def lost(unit: str, slope: np.ndarray) -> np.ndarray:
    """Share of units that are lost (M,), of their mean slopes (M, n) and their activation's name."""
    least = 0 if unit == "relu" else LOST
    # a unit that is not finite passes nothing on either
    return np.where(np.isnan(slope).all(axis=1), np.nan, (~(slope > least)).mean(axis=1))


def first_step(gradient: list[np.ndarray], rule: Rule, rate: float) -> list[np.ndarray]:
    """A first step along the gradient of all images, without a sign; L arrays (M, n_in + 1, n_out)."""
    with np.errstate(all="ignore"):
        if rule.optimiser == "adam":
            return [rate * g / (np.abs(g) + sequential.EPSILON) for g in gradient]
        if rule.optimiser == "adagrad":
            return [rate * g / np.sqrt(0.1 + g * g) for g in gradient]
        if rule.optimiser == "normalised":
            norms = [np.sqrt((g * g).sum(axis=(1, 2), keepdims=True)) for g in gradient]
            return [rate * np.nan_to_num(g / norm) for g, norm in zip(gradient, norms, strict=True)]
        short = 1.0
        if rule.clip is not None:
            whole = np.sqrt(sum((g * g).sum(axis=(1, 2), keepdims=True) for g in gradient))
            short = np.fmin(1.0, rule.clip / whole)
        return [rate * short * g for g in gradient]


def gain(gradient: list[np.ndarray], step: list[np.ndarray], loss: np.ndarray) -> np.ndarray:
    """Part of the loss (M,) that a step would take off if the loss were straight (M,)."""
    with np.errstate(all="ignore"):
        return sum((g * s).sum(axis=(1, 2)) for g, s in zip(gradient, step, strict=True)) / loss


@functools.lru_cache(maxsize=32)
def _values(net: Net):
    return tf.function(lambda layers, x: [z for z, _ in sequential.forward(layers, x, net)], autograph=False)


def _stride(layers, step, x, net) -> np.ndarray:
    moved = tuple(w - tf.constant(s, w.dtype) for w, s in zip(layers, step, strict=True))
    found = []
    for k, a, b in zip(net.units, _values(net)(layers, x), _values(net)(moved, x), strict=True):
        axes = list(range(1, a.shape.rank))
        far, wide = (tf.sqrt(tf.reduce_mean(tf.square(v), axis=axes)).numpy() for v in (b - a, a))
        with np.errstate(all="ignore"):
            found.append(far / (ACTIVATIONS[net.steps[k][0]].width or wide))
    return np.stack(found, axis=1)


@functools.lru_cache(maxsize=32)
def _products(net: Net):
    return curvature.products(functools.partial(sequential.loss, net=net))


def sharpness(product: Callable[[np.ndarray], np.ndarray], size: int, seeds: Sequence[int]) -> np.ndarray:
    """Largest eigenvalue (M,) of symmetric matrices, of their products with rows (M, P), P = size."""
    start = np.stack([streams.generator("own sharpness", int(seed)).normal(size=size) for seed in seeds])
    with np.errstate(invalid="ignore", over="ignore"):
        return curvature.top_eigenvalue(product, start, PRODUCTS, TOLERANCE).value


def _sharpness(layers, x, labels, net, seeds) -> np.ndarray:
    def product(rows):
        vectors = curvature.unflat(rows, layers)
        return curvature.flat(_products(net)(layers, vectors, x, labels)[1]).numpy()

    return sharpness(product, curvature.flat(layers).shape[1], seeds)


@functools.lru_cache(maxsize=32)
def _along(net: Net):
    @tf.function(autograph=False)
    def along(layers, x, labels):
        # H g is the gradient of |g|^2 / 2
        with tf.GradientTape() as outer:
            outer.watch(layers)
            with tf.GradientTape() as inner:
                inner.watch(layers)
                value = sequential.loss(layers, x, labels, net)
            gradient = inner.gradient(value, layers)
            half = sum(tf.reduce_sum(g * g) for g in gradient) / 2
        others = outer.gradient(half, layers), gradient
        pairs = [zip(gradient, other, strict=True) for other in others]
        return [sum(tf.reduce_sum(a * b, axis=(1, 2)) for a, b in both) for both in pairs]

    return along


def _batch_sharpness(layers, x, labels, net, batch) -> np.ndarray:
    return curvature.batch_sharpness(lambda part: _along(net)(layers, x[part], labels[part]), len(x), batch)
