"""Sequential networks of many kinds, many at once: steps, first weights, forward pass, losses, training.

A network is a list of steps, as in Keras: ``("conv", 8, 3, 1, "valid")``, ``("relu",)``, ``("max pool", 2, 2,
"valid")``, ``("flatten",)``, ``("dropout", 0.5)``, ``("dense", 10)``, ``("softmax",)``. As in `lib.nets` the
weights of a step are one tensor (M, n_in + 1, n_out) for M members, the bias its last row; the rows of a
convolution run over the pixels of its kernel, row by row, and the channels of each.

At the few kinds of networks that they know `lib.train` is a fifth faster, and `lib.convnets` takes less than
half the time; tests hold this module to them. Here gradients are TensorFlow's own, so that any activation can
stand with any loss.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import entr

from lib import checks, convnets, nets, streams, train
from lib.backend import tf

EPSILON = 1e-7  # Keras's: it keeps probabilities this far from 0 and 1
DROPOUT = 2**30  # of the streams that dropout draws from: beyond all that `lib.streams.weights` gives

# --- steps ---


class Activation(NamedTuple):
    """An activation.

    Attributes:
        value: h = ``value(z, *numbers)`` of a pre-activation.
        slope: Its derivative from z and h, without a sign and as a part of the largest; None where a gradient
            always gets through.
        width: Of the pre-activations between which a slope is left; None where only the images tell.
    """

    value: Callable
    slope: Callable | None = None
    width: float | None = None


def _gelu_slope(z, h):
    normal = tf.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return tf.abs(0.5 * (1 + tf.math.erf(z / math.sqrt(2))) + z * normal) / 1.129


ACTIVATIONS = {
    "linear": Activation(tf.identity),
    "softmax": Activation(tf.nn.softmax),
    "sigmoid": Activation(tf.sigmoid, lambda z, h: 4 * h * (1 - h), 4.0),
    "tanh": Activation(tf.tanh, lambda z, h: 1 - h * h, 2.0),
    "relu": Activation(tf.nn.relu, lambda z, h: tf.cast(z > 0, z.dtype)),
    "leaky relu": Activation(tf.nn.leaky_relu),
    "gelu": Activation(lambda z: tf.nn.gelu(z, approximate=False), _gelu_slope),
    "elu": Activation(tf.nn.elu, lambda z, h: 1 + tf.minimum(h, 0)),
    "selu": Activation(tf.nn.selu, lambda z, h: tf.where(z > 0, 1 / 1.67326, tf.exp(z))),
    "silu": Activation(tf.nn.silu, lambda z, h: tf.abs(tf.sigmoid(z) * (1 + z - h)) / 1.0998),
}
RECTIFIERS = ("relu", "gelu")
OUTPUTS = ("softmax", "sigmoid", "tanh", "relu", "linear")
# Which outputs a loss can be taken of. Of sigmoids a, Keras takes the cross-entropy of the shares a / sum a.
LOSSES = {
    "cross-entropy": ("softmax", "sigmoid"),
    "binary cross-entropy": ("sigmoid", "softmax"),
    "squared error": OUTPUTS,
}
FITTING = {"cross-entropy": "softmax", "binary cross-entropy": "sigmoid"}  # outputs whose slope a loss undoes


def _side(length: int, size: int, stride: int, padding: str) -> int:
    return -(-length // stride) if padding == "same" else (length - size) // stride + 1


def places(image: tuple[int, ...], steps: Sequence[tuple]) -> list[tuple[int, ...]]:
    """Shape of what goes into each step of a network, and last of what comes out.

    Raises:
        ValueError: A step is not known, or does not fit on the one before.
    """
    found = [tuple(image)]
    for name, *numbers in steps:
        at = found[-1]
        if name == "dense" and len(at) == 1:
            at = (numbers[0],)
        elif name == "conv" and len(at) == 3:
            at = (*(_side(n, *numbers[1:]) for n in at[:2]), numbers[0])
        elif name in ("max pool", "average pool") and len(at) == 3:
            at = (*(_side(n, *numbers) for n in at[:2]), at[2])
        elif name == "flatten":
            at = (math.prod(at),)
        elif name not in ("dropout", *ACTIVATIONS):
            raise ValueError(f"step {(name, *numbers)} does not fit on values of shape {at}")
        if min(at) < 1:
            raise ValueError(f"step {(name, *numbers)} leaves nothing of values of shape {found[-1]}")
        found.append(at)
    return found


class Judged:
    """What follows from a network's steps and its loss, whatever else is known of it."""

    @property
    def output(self) -> str:
        """The output's activation."""
        return self.steps[-1][0]

    def level(self, labels: np.ndarray) -> float:
        """Loss of the best output that ignores the image, for labels (N,)."""
        return self.factor * level(self.loss, labels, self.classes)


@dataclass(frozen=True)
class Net(Judged):
    """What a network is built of, and its loss.

    Attributes:
        image: Shape of an image: height, width and channels; or of a row of numbers.
        steps: From the image to the output, each a name and its numbers; the last is the output's activation.
            ``("conv", channels, kernel side, stride, padding)``, ``("dense", units)``, ``("max pool", side,
            stride, padding)``, ``("average pool", ...)``, ``("flatten",)``, ``("dropout", rate)``, and names
            in `ACTIVATIONS`.
        loss: Name in `LOSSES`. Binary cross-entropy and half the squared error are summed over the outputs.
        factor: On the loss; Keras, which takes means over K outputs, has 1/K and 2/K.
    """

    image: tuple[int, ...]
    steps: tuple[tuple, ...]
    loss: str = "cross-entropy"
    factor: float = 1.0

    def __post_init__(self) -> None:
        """Takes lists, as JSON has them, for tuples, and checks it.

        Raises:
            ValueError: A step is not known, does not fit on the one before, or the loss not on the output.
        """
        object.__setattr__(self, "image", tuple(self.image))
        object.__setattr__(self, "steps", tuple(tuple(step) for step in self.steps))
        checks.choice(LOSSES)("loss", self.loss)
        if not self.shapes or len(self.places[-1]) != 1:
            raise ValueError("steps must hold a layer with weights, and end with one row of outputs")
        if self.output not in LOSSES[self.loss]:
            taken = " or ".join(LOSSES[self.loss])
            raise ValueError(f"loss {self.loss!r} takes outputs of {taken}, got {self.output!r}")

    @functools.cached_property
    def places(self) -> list[tuple[int, ...]]:
        """Shape of what goes into each step, and last of the output."""
        return places(self.image, self.steps)

    @functools.cached_property
    def layers(self) -> list[int]:
        """Numbers of the steps that have weights."""
        return [k for k, (name, *_) in enumerate(self.steps) if name in ("dense", "conv")]

    @functools.cached_property
    def units(self) -> list[int]:
        """Numbers of the steps that are activations; the last one is the output's."""
        return [k for k, (name, *_) in enumerate(self.steps) if name in ACTIVATIONS]

    @functools.cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """Shape (n_in + 1, n_out) of each layer's weights."""
        found = []
        for k in self.layers:
            name, units, *more = self.steps[k]
            window = more[0] ** 2 if name == "conv" else 1
            found.append((window * self.places[k][-1] + 1, units))
        return found

    @functools.cached_property
    def names(self) -> list[str]:
        """Name of each layer with weights, as in figures."""
        kinds = [self.steps[k][0] for k in self.layers[:-1]]
        return [*(f"{kind} {kinds[: k + 1].count(kind)}" for k, kind in enumerate(kinds)), "output"]

    @functools.cached_property
    def unit_names(self) -> list[str]:
        """Name of the layer that each activation stands on."""
        return [self.names[max(sum(layer < k for layer in self.layers) - 1, 0)] for k in self.units]

    @property
    def classes(self) -> int:
        """Number of outputs K."""
        return self.places[-1][0]

    @property
    def fitting(self) -> bool:
        """Whether the loss gives back what the output's slope takes: no output can lose its gradient."""
        return self.output in ("linear", FITTING.get(self.loss))


def level(loss: str, labels: np.ndarray, classes: int) -> float:
    """Loss of the best output that ignores the image, by the shares p of the labels (N,).

    Cross-entropy: -sum p log p, their entropy. Binary cross-entropy: the sum of each output's entropy. Half
    the squared error: sum p (1 - p) / 2.
    """
    p = np.bincount(labels, minlength=classes) / len(labels)
    own, other = entr(p), entr(1 - p)
    each = {"cross-entropy": own, "binary cross-entropy": own + other, "squared error": p * (1 - p) / 2}
    return float(each[loss].sum())


# --- first weights ---

INITS: dict[str, Callable] = {
    "glorot": convnets.INITS["glorot"],
    "he": convnets.INITS["he"],
    "lecun": lambda fan_in, fan_out: convnets.normal(np.sqrt(1 / fan_in)),  # LeCun et al. 1998
}


def initial(
    seeds: Sequence[int], net: Net, init: str | float, bias: float = 0.0, bias_sd: float = 0.0
) -> tuple[tf.Tensor, ...]:
    """Fresh networks; member k depends on ``seeds[k]`` alone. Those of `lib.convnets` are the same.

    Args:
        seeds: One seed for each of the M members, 0 to 2**31 - 1.
        net: What they are built of.
        init: Name in `INITS`; or the standard deviation of a normal distribution.
        bias: Mean of the biases.
        bias_sd: Their standard deviation.

    Returns:
        One float32 tensor (M, n_in + 1, n_out) for each layer.

    Raises:
        ValueError: A seed is out of range, or init is neither.
    """
    checks.seeds(seeds)
    if init not in INITS and not (isinstance(init, float | int) and 0 <= init < np.inf):
        raise ValueError(f"init must be one of {sorted(INITS)}, or a standard deviation, got {init!r}")
    layers = []
    for number, (k, (rows, columns)) in enumerate(zip(net.layers, net.shapes, strict=True)):
        window = net.steps[k][2] ** 2 if net.steps[k][0] == "conv" else 1
        draw = INITS[init](rows - 1, window * columns) if init in INITS else convnets.normal(init)
        stream, other = streams.weights("initial", number), streams.weights("own bias", number)
        drawn = [draw((rows - 1, columns), [s, stream]) for s in seeds]
        biases = [bias + convnets.normal(bias_sd)((1, columns), [s, other]) for s in seeds]
        layers.append(tf.concat([tf.stack(drawn), tf.stack(biases)], axis=1))
    return tuple(layers)


# --- forward ---


def _convolved(h: tf.Tensor, layer: tf.Tensor, units: int, side: int, stride: int, padding: str) -> tf.Tensor:
    """Pre-activations of a convolution, member by member: TensorFlow takes one kernel for all images."""
    members = layer.shape[0]
    images = tf.unstack(h) if h.shape[0] > 1 else [h[0]] * members
    kernels = tf.reshape(layer[:, :-1], (members, side, side, -1, units))
    pairs = zip(images, tf.unstack(kernels), strict=True)
    z = tf.stack([tf.nn.conv2d(one, kernel, stride, padding.upper()) for one, kernel in pairs])
    return z + layer[:, None, None, -1:]


def _pooled(h: tf.Tensor, kind: str, size: int, stride: int, padding: str) -> tf.Tensor:
    pool = tf.nn.max_pool2d if kind == "max pool" else tf.nn.avg_pool2d
    members = h.shape[0]
    h = pool(tf.reshape(h, (-1, *h.shape[2:])), size, stride, padding.upper())
    return tf.reshape(h, (members, -1, *h.shape[1:]))


def forward(
    layers: Sequence[tf.Tensor], x: tf.Tensor, net: Net, draw: Callable | None = None
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Pre-activations z and activations h of each step that is an activation; the last are the outputs.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        x: Images (N, *image) shared by all members, or (M, N, *image).
        net: Of the networks.
        draw: ``draw(k, shape)`` gives numbers from 0 to 1 for the dropout at step k; None drops nothing.
    """
    h = x[None] if x.shape.rank == len(net.image) + 1 else x
    weights, seen = iter(layers), []
    for k, (name, *numbers) in enumerate(net.steps):
        if name in ACTIVATIONS:
            z, h = h, ACTIVATIONS[name].value(h, *numbers)
            seen.append((z, h))
        elif name == "conv":
            h = _convolved(h, next(weights), *numbers)
        elif name == "dense":
            h = tf.matmul(nets.with_ones(h), next(weights))
        elif name == "flatten":
            h = tf.reshape(h, (h.shape[0], -1, *net.places[k + 1]))
        elif name == "dropout":
            if draw is not None and numbers[0]:
                kept = draw(k, tf.shape(h)) >= numbers[0]
                h = tf.where(kept, h / (1 - numbers[0]), 0)
        else:
            h = _pooled(h, name, *numbers)
    return seen


def losses(net: Net, z: tf.Tensor, a: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Loss of each image from the output's pre-activations and activations (M, N, K): (M, N)."""
    labels = tf.broadcast_to(labels, tf.shape(z)[:2])
    y = tf.one_hot(labels, net.classes, dtype=z.dtype)
    if net.loss == "squared error":
        value = 0.5 * tf.reduce_sum((a - y) ** 2, axis=-1)
    elif net.loss == "cross-entropy" and net.output == "softmax":
        value = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z)
    elif net.loss == "cross-entropy":
        share = a / tf.reduce_sum(a, axis=-1, keepdims=True)
        value = -tf.reduce_sum(y * tf.math.log(tf.clip_by_value(share, EPSILON, 1 - EPSILON)), axis=-1)
    elif net.output == "sigmoid":
        value = train.LOSSES["binary cross-entropy"].value(z, y)
    else:
        a = tf.clip_by_value(a, EPSILON, 1 - EPSILON)
        value = -tf.reduce_sum(y * tf.math.log(a) + (1 - y) * tf.math.log(1 - a), axis=-1)
    return net.factor * value


def loss(
    layers: Sequence[tf.Tensor], x: tf.Tensor, labels: tf.Tensor, net: Net, draw: Callable | None = None
) -> tf.Tensor:
    """The mean loss of each member (M,); images and ``draw`` as for `forward`."""
    return tf.reduce_mean(losses(net, *forward(layers, x, net, draw)[-1], labels), axis=1)


# --- training ---


@dataclass(frozen=True)
class Rule:
    """How weights are changed.

    Attributes:
        optimiser: Name in `lib.train.OPTIMISERS`.
        momentum: Decay of the velocity of 'momentum', or of Adam's first moment.
        clip: Largest norm of a member's whole gradient; None for no limit.
        decay: This times the weights, not the biases, is added to their gradient.
    """

    optimiser: str = "sgd"
    momentum: float = 0.9
    clip: float | None = None
    decay: float = 0.0


def fit(
    layers: Sequence[tf.Tensor],
    x: tf.Tensor,
    labels: tf.Tensor,
    batches: np.ndarray,
    rates: np.ndarray,
    *,
    net: Net,
    rule: Rule,
    seeds: Sequence[int],
    state: train.State,
) -> tuple[tuple[tf.Tensor, ...], np.ndarray]:
    """Train M networks for T steps on the mean loss of each batch.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        x: Images (N, *image), float32.
        labels: int32 (N,).
        batches: Image numbers of each network, int (T, M, B).
        rates: Learning rate of each step (T,).
        net: Of the networks.
        rule: How their weights are changed.
        seeds: Of the networks, for dropout: a network drops the same units whoever is trained beside it.
        state: Of the optimiser; brought up to date.

    Returns:
        The layers, and each batch's loss before its update (M, T). What overflows is an outcome, no error.
    """
    layers = tuple(layers)
    kept = train.OPTIMISERS[rule.optimiser].slots
    slots = state.slots or tuple(tuple(tf.fill(w.shape, tf.constant(s)) for s in kept) for w in layers)
    with np.errstate(over="ignore"):  # a rate beyond float32 is infinite
        rates = tf.constant(np.asarray(rates, np.float32))
    given = x, labels, tf.constant(batches, tf.int32), rates, tf.constant(seeds, tf.int32)
    layers, state.slots, seen = _loop(net, rule)(layers, slots, tf.constant(state.steps), *given)
    state.steps += len(batches)
    return layers, seen.numpy().T


@functools.lru_cache(maxsize=64)
def _loop(net: Net, rule: Rule) -> Callable:
    update = train.OPTIMISERS[rule.optimiser].update
    if rule.optimiser == "momentum":
        update = functools.partial(update, decay=rule.momentum)
    elif rule.optimiser == "adam":
        update = functools.partial(update, decay1=rule.momentum, epsilon=EPSILON)

    # one graph for each set of shapes
    @tf.function(autograph=False)
    def loop(layers, slots, before, x, labels, batches, rates, seeds):
        def step(i, layers, slots):
            t, chosen, rate = before + i, batches[i], rates[i]

            def draw(k, shape):
                stream = DROPOUT + t * len(net.steps) + k
                each = [tf.random.stateless_uniform(shape[1:], [s, stream]) for s in tf.unstack(seeds)]
                return tf.stack(each)

            with tf.GradientTape() as tape:
                tape.watch(layers)
                seen = loss(layers, tf.gather(x, chosen), tf.gather(labels, chosen), net, draw)
            gradient = tape.gradient(seen, layers)
            if rule.clip is not None:
                whole = tf.sqrt(tf.add_n([tf.reduce_sum(g * g, axis=(1, 2)) for g in gradient]))
                short = tf.minimum(1.0, rule.clip / whole)[:, None, None]
                gradient = [short * g for g in gradient]
            if rule.decay:
                still = [tf.concat([w[:, :-1], tf.zeros_like(w[:, -1:])], axis=1) for w in layers]
                gradient = [g + rule.decay * w for g, w in zip(gradient, still, strict=True)]
            if rule.optimiser == "sgd":  # there the rate is in the gradient, see lib.train
                gradient = [rate * g for g in gradient]
            norm = functools.partial(train._norm, members=layers[0].shape[0])
            each = zip(layers, gradient, slots, strict=True)
            pairs = [update(w, g, s, rate, t + 1, norm) for w, g, s in each]
            return tuple(w for w, _ in pairs), tuple(tuple(s) for _, s in pairs), seen

        return convnets.recorded(step, tf.shape(batches)[0], layers, slots)

    return loop
