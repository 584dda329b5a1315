"""Many small convolutional networks at once: layers, initialisation, forward pass, training, measurement.

A network has blocks of a 3x3 convolution without padding, 2x2 max pooling and a rectifier, then dense layers.
As in `lib.nets`, a layer is one tensor (M, n_in + 1, n_out) with the bias as its last row; a kernel's rows
run over its 3x3 pixels, row by row, and the channels of each.

The passes are products of large matrices on TensorFlow's plain kernels, since the convolutions that it has
are slow for few channels. What lies between two products is one program of XLA where there is much of it. The
first layer multiplies patches of the images that were cut out once; all members share it, side by side. In
higher layers a 4x4 tile of the map below gives the four values of one pooling window in one product. Pixels
that no later layer sees are never computed. Gradients are TensorFlow's own, but for the poolings'. Tests hold
all of it to Keras's layers.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from lib import checks, diagnose, nets, streams
from lib.backend import tf
from lib.data import CLASSES

SIDE = 28  # of the images
TILES = {1: (13,), 2: (12, 5), 3: (10, 4, 1)}  # pooled rows that are used, by the number of blocks
_FRACTION = checks.number(0, math.nextafter(1, 0))
PIECE = 250  # images at a time in measurements: their activations then stay near the processor
TOGETHER = 1024  # in training, maps of the first layer at a time: likewise
COMPILED = 4000  # images of all members in a call of `fit` that is worth compiling, if others like it follow


@dataclass(frozen=True)
class Design:
    """What a network is built of.

    Attributes:
        channels: Of each block, one to three.
        dense: Units of each dense hidden layer; may be empty.
        slope: Of the rectifier for negative inputs: 0 for ReLU, above for LeakyReLU.
    """

    channels: Annotated[tuple[int, ...], checks.wholes(1, 1000, 1, 3)] = (8, 16)
    dense: Annotated[tuple[int, ...], checks.wholes(1, 1000, 0, 5)] = (64,)
    slope: Annotated[float, _FRACTION] = 0.0

    def __post_init__(self) -> None:
        """Checks it; a ValueError says what does not fit, and what would."""
        checks.fields(self)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shape (n_in + 1, n_out) of each layer."""
        below = (1, *self.channels)
        flat = TILES[len(self.channels)][-1] ** 2 * self.channels[-1]
        convolutions = [(9 * a + 1, b) for a, b in zip(below[:-1], below[1:], strict=True)]
        return convolutions + nets.shapes((flat, *self.dense, CLASSES))

    @property
    def names(self) -> list[str]:
        """Name of each layer, as in figures."""
        convolutions = [f"conv {k + 1}" for k in range(len(self.channels))]
        dense = [f"dense {k + 1}" if len(self.dense) > 1 else "dense" for k in range(len(self.dense))]
        return convolutions + dense + ["output"]


# --- initialisation ---


def normal(sd: float) -> Callable:
    """Draws of ``draw(shape, [seed, stream])`` from a normal distribution of mean 0."""
    return functools.partial(tf.random.stateless_normal, stddev=sd)


def _glorot(fan_in, fan_out, divisor=1):
    size = np.sqrt(6 / (fan_in + fan_out)) / divisor
    return functools.partial(tf.random.stateless_uniform, minval=-size, maxval=size)


INITS: dict[str, Callable] = {
    "glorot": _glorot,  # Glorot and Bengio 2010, the default in Keras
    "he": lambda fan_in, fan_out: normal(np.sqrt(2 / fan_in)),  # He et al. 2015
    "small": lambda fan_in, fan_out: normal(0.01),  # Krizhevsky et al. 2012
    "faint": functools.partial(_glorot, divisor=3),
    "dead": _glorot,  # as glorot, but no unit of the first layer is ever on: the middle of a plateau
}
OFF = -1e6  # bias that switches a unit off for any image


def initial(seeds: Sequence[int], design: Design, init: str) -> tuple[tf.Tensor, ...]:
    """Fresh networks with biases of zero; member k depends on ``seeds[k]`` alone.

    Args:
        seeds: One seed for each of the M members, 0 to 2**31 - 1.
        design: What they are built of.
        init: Name in `INITS`.

    Returns:
        One float32 tensor (M, n_in + 1, n_out) for each layer.

    Raises:
        ValueError: A seed is out of range, or init is not known.
    """
    checks.seeds(seeds)
    checks.choice(INITS)("init", init)
    layers = []
    for number, (rows, columns) in enumerate(design.shapes):
        window = 9 if number < len(design.channels) else 1
        draw, stream = INITS[init](rows - 1, window * columns), streams.weights("initial", number)
        drawn = [draw((rows - 1, columns), [s, stream]) for s in seeds]
        bias = OFF if init == "dead" and number == 0 else 0.0
        layers.append(tf.concat([tf.stack(drawn), tf.fill((len(seeds), 1, columns), bias)], axis=1))
    return tuple(layers)


# --- forward ---


class Images(NamedTuple):
    """Images as the first layer takes them, with their labels.

    Attributes:
        patches: (4, N, tiles, 9), the 3x3 patches under the four corners of each pooling window.
        labels: int32 (N,).
    """

    patches: tf.Tensor
    labels: tf.Tensor

    def __len__(self) -> int:
        """Number of images N."""
        return self.labels.shape[0]

    def part(self, chosen: slice) -> "Images":
        """Some of the images."""
        return Images(self.patches[:, chosen], self.labels[chosen])


def images(x: np.ndarray, y: np.ndarray, design: Design) -> Images:
    """Cut images into patches, for networks of this number of blocks.

    Args:
        x: Pixels (N, 784), float32 and finite, row by row.
        y: Labels (N,), 0 to 9.
        design: Of the networks.

    Raises:
        ValueError: x or y has another shape, type or range.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or x.shape[1] != SIDE**2 or x.dtype != np.float32 or not np.isfinite(x).all():
        raise ValueError(f"x must be finite float32 (N, {SIDE**2}), got {x.dtype} of shape {x.shape}")
    whole = np.issubdtype(y.dtype, np.integer) and y.shape == x.shape[:1] and y.size
    if not whole or y.min() < 0 or y.max() >= CLASSES:
        got = f"{y.dtype} of shape {y.shape}"
        raise ValueError(f"y must hold {len(x)} whole numbers from 0 to {CLASSES - 1}, got {got}")
    side = TILES[len(design.channels)][0]
    grid = x.reshape(-1, SIDE, SIDE)
    cut = np.empty((4, len(x), side, side, 9), np.float32)
    for corner in range(4):
        for pixel in range(9):
            row, column = corner // 2 + pixel // 3, corner % 2 + pixel % 3
            cut[corner, ..., pixel] = grid[:, row : row + 2 * side : 2, column : column + 2 * side : 2]
    return Images(tf.constant(cut.reshape(4, len(x), side * side, 9)), tf.constant(y, tf.int32))


def _rectified(z, slope):
    return tf.nn.leaky_relu(z, slope) if slope else tf.nn.relu(z)


def _pool(corners, bias, slope):
    """Largest of four corners, bias and rectifier: (M, A, 4, S, n) and (M, 1, n) give (M, A, S, n).

    The gradient goes to the first of equal corners.
    """
    a, b, c, d = tf.unstack(corners, axis=2)
    return _rectified(tf.maximum(tf.maximum(a, b), tf.maximum(c, d)) + bias[:, :, None], slope)


@functools.cache
def _compiled_pool(slope):
    """The same to the bit, and so are its gradients; each is one pass over memory."""
    compiled = functools.partial(tf.function, autograph=False, jit_compile=True)
    forward = compiled(functools.partial(_pool, slope=slope))

    def of_largest(corners, of_each):
        a, b, c, d = tf.unstack(corners, axis=2)
        left, right = tf.where(a >= b, *of_each[:2]), tf.where(c >= d, *of_each[2:])
        return tf.where(tf.maximum(a, b) >= tf.maximum(c, d), left, right)

    @compiled
    def spread(corners, values):
        here = of_largest(corners, range(4))[:, :, None] == tf.reshape(tf.range(4), (4, 1, 1))
        return tf.where(here, values[:, :, None], tf.zeros((), values.dtype))

    @compiled
    def gathered(corners, values):
        return of_largest(corners, tf.unstack(values, axis=2))

    @tf.custom_gradient
    def back(corners, values):  # each is the other's gradient, as often as wanted
        return spread(corners, values), lambda g: (None, ahead(corners, g))

    @tf.custom_gradient
    def ahead(corners, values):
        return gathered(corners, values), lambda g: (None, back(corners, g))

    @tf.custom_gradient
    def pool(corners, bias):
        h = forward(corners, bias)

        def gradient(g):
            how = {"gradients": g, "features": h}
            g = tf.raw_ops.LeakyReluGrad(**how, alpha=slope) if slope else tf.raw_ops.ReluGrad(**how)
            return back(corners, g), tf.reduce_sum(g, axis=(1, 2))[:, None]

        return h, gradient

    return pool


def _tile_kernel(kernel: tf.Tensor, below: int) -> tf.Tensor:
    """From a kernel (M, 9 c, n) to (M, 16 c, 4 n): a 4x4 tile gives the four corners of a pooling window.

    The tile's rows run over its four 2x2 blocks, the pixels in each, and the channels.
    """
    members, _, n = kernel.shape
    kernel = tf.reshape(kernel, (members, 3, 3, below, n))
    corners = [tf.pad(kernel, [[0, 0], [i, 1 - i], [j, 1 - j], [0, 0], [0, 0]]) for i, j in np.ndindex(2, 2)]
    blocks = tf.reshape(tf.stack(corners, axis=4), (members, 2, 2, 2, 2, below, 4 * n))
    return tf.reshape(tf.transpose(blocks, (0, 1, 3, 2, 4, 5, 6)), (members, 16 * below, 4 * n))


def forward(
    layers: Sequence[tf.Tensor], patches: tf.Tensor, design: Design, compiled: bool = False
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Activations of every hidden layer, and the output's pre-activation.

    Differentiable as often as wanted.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        patches: (4, N, tiles, 9), as in `Images`; or (M, N, 4, tiles, 9), each member's own images; or these
            as (M, N, tiles, 16), the 4x4 pixels under each pooling window, in 2x2 blocks: faster in XLA.
        design: Of the networks.
        compiled: Whether XLA compiles the poolings, which pays off where the same graph has much to do.

    Returns:
        L - 1 hidden activations (M, ..., n), pooled where the layer pools, and the pre-activation (M, N, 10).
    """
    return _forward(_split(layers), patches, design, compiled)


def _split(layers):
    """Weights and biases (M, 1, n_out), without indexing: its gradient is written ten times as slowly."""
    return [tuple(tf.split(layer, [layer.shape[1] - 1, 1], axis=1)) for layer in layers]


def _joined(weights):
    return tuple(tf.concat(pair, axis=1) for pair in weights)


def _forward(weights, patches, design, compiled):
    members, blocks = weights[0][0].shape[0], len(design.channels)
    sides = TILES[blocks]
    pool = _compiled_pool(design.slope) if compiled else functools.partial(_pool, slope=design.slope)
    hidden, h, below = [], patches, 1
    for k, (side, n, (kernel, bias)) in enumerate(zip(sides, design.channels, weights, strict=False)):
        cut = k == 0 and h.shape[-1] == 9
        if shared := cut and h.shape.rank == 4:  # side by side
            kernel, bias = nets.wide(kernel), nets.wide(bias)[None]
            corners = tf.matmul(tf.reshape(h, (-1, 9)), kernel)
            h = pool(tf.reshape(corners, (1, 1, 4, -1, kernel.shape[1])), bias)
        elif cut:
            corners = tf.matmul(tf.reshape(h, (members, -1, 9)), kernel)
            h = pool(tf.reshape(corners, (members, -1, 4, side**2, n)), bias)
        else:
            if k > 0:  # sliced without indexing, as in `_split`
                h = tf.reshape(h, (members, -1, side + 1, side + 1, 4 * below))
                near = [tf.slice(h, (0, 0, i, j, 0), (-1, -1, side, side, -1)) for i, j in np.ndindex(2, 2)]
                h = tf.concat(near, axis=-1)
            corners = tf.matmul(tf.reshape(h, (members, -1, 16 * below)), _tile_kernel(kernel, below))
            h = pool(tf.reshape(corners, (members, -1, 4, 1, n)), bias)
        # members first; where another block follows, pixels in 2x2 blocks
        grid = -1, side // 2, 2, side // 2, 2
        if k < blocks - 1 and shared:
            h = tf.transpose(tf.reshape(h, (*grid, members, n)), (5, 0, 1, 3, 2, 4, 6))
        elif k < blocks - 1:
            h = tf.transpose(tf.reshape(h, (members, *grid, n)), (0, 1, 2, 4, 3, 5, 6))
        elif shared:
            h = tf.transpose(tf.reshape(h, (-1, side**2, members, n)), (2, 0, 1, 3))
        else:
            h = tf.reshape(h, (members, -1, side**2, n))
        hidden.append(h)
        below = n
    h = tf.reshape(h, (members, -1, sides[-1] ** 2 * below))
    for w, b in weights[blocks:-1]:
        h = _rectified(tf.matmul(h, w) + b, design.slope)
        hidden.append(h)
    w, b = weights[-1]
    return hidden, tf.matmul(h, w) + b


def losses(z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of each member in nats, from pre-activations (M, N, 10): (M,)."""
    labels = tf.broadcast_to(labels, tf.shape(z)[:2])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z), axis=1)


def loss(layers: Sequence[tf.Tensor], patches: tf.Tensor, labels: tf.Tensor, design: Design) -> tf.Tensor:
    """Mean cross-entropy of each member in nats (M,), from images that all share, as in `Images`."""
    return losses(forward(layers, patches, design, compiled=patches.shape[1] >= PIECE)[1], labels)


# --- training ---


class Record(NamedTuple):
    """What was seen at each step of a training, before its update.

    Attributes:
        loss: Mean cross-entropy of the batch in nats (M, T).
        gradient: Norm of each layer's gradient (M, T, L), or (M, T, 0) where it was not asked for.
        output: Mean over the batch of the output's pre-activation (M, T, 10).
    """

    loss: np.ndarray
    gradient: np.ndarray
    output: np.ndarray


def fit(
    layers: Sequence[tf.Tensor],
    data: Images,
    batches: np.ndarray,
    rates: np.ndarray,
    *,
    design: Design,
    momentum: float = 0.0,
    clip: float | None = None,
    velocity: Sequence[tf.Tensor] | None = None,
    gradients: bool = False,
) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...], Record]:
    """Train M networks for T steps of gradient descent on the mean loss of each batch.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        data: Training images, shared by all members.
        batches: Image numbers, int: (T, B), shared by all members, or (T, M, B), of each.
        rates: Learning rate of each step (T,), or of each step and member (T, M); above 0.
        design: Of the networks.
        momentum: Decay of the velocity, 0 to below 1.
        clip: Largest norm of a member's whole gradient; None for no limit.
        velocity: Where an earlier call ended; default at rest.
        gradients: Whether to record the norms of the gradients. The networks are the same, to the bit.

    Returns:
        The layers, the velocity, and the record. Weights that overflow are an outcome, not an error.

    Raises:
        ValueError: An argument's shape or range does not fit; raised before any training.
    """
    layers = tuple(layers)
    batches = np.asarray(batches)
    with np.errstate(over="ignore"):  # refused below
        rates = np.asarray(rates, np.float32)
    members = layers[0].shape[0]
    for name, held in (("layers", layers), ("velocity", layers if velocity is None else tuple(velocity))):
        shapes = [tuple(w.shape) for w in held]
        if shapes != [(members, *shape) for shape in design.shapes] or held[0].dtype != tf.float32:
            wanted = f"float32 ({members}, n_in + 1, n_out) for {design.shapes}"
            raise ValueError(f"{name} must be {wanted}, got {shapes}")
    if data.patches.shape[2] != TILES[len(design.channels)][0] ** 2:
        raise ValueError("data was cut for networks of another number of blocks")
    own = batches.ndim == 3 and batches.shape[1] == members
    if not (own or batches.ndim == 2) or not np.issubdtype(batches.dtype, np.integer):
        got = f"{batches.dtype} of {batches.shape}"
        raise ValueError(f"batches must be whole numbers (T, B) or (T, {members}, B), got {got}")
    if not batches.size or batches.min() < 0 or batches.max() >= len(data):
        raise ValueError(f"batches must hold image numbers from 0 to {len(data) - 1}")
    if rates.shape not in ((len(batches),), (len(batches), members)):
        raise ValueError(f"rates must be ({len(batches)},) or ({len(batches)}, {members}), got {rates.shape}")
    if not (np.isfinite(rates).all() and (rates > 0).all()):
        raise ValueError("rates must be above 0 and finite, as float32")
    _FRACTION("momentum", momentum)
    checks.must(clip is None or 0 < clip < np.inf, "clip", "above 0 and finite, or None", clip)
    if rates.ndim == 1:
        rates = np.repeat(rates[:, None], members, axis=1)
    velocity = tuple((tf.zeros_like(w) for w in layers) if velocity is None else velocity)
    # numbers are tensors: one graph serves all of them, and any number of images and steps
    numbers = tf.constant(momentum, tf.float32), tf.constant(0.0 if clip is None else clip)
    compiled = len(batches) * members * batches.shape[-1] >= COMPILED
    loop = _loop(design, momentum > 0, clip is not None, bool(gradients), compiled)
    patches, size = data.patches, members
    if own:
        patches = tf.transpose(patches, (1, 0, 2, 3))
        # equal groups; of four at least, since TensorFlow rounds products of fewer matrices otherwise
        most = max(4, TOGETHER // (batches.shape[-1] * design.channels[0]))
        size = max(n for n in range(1, members + 1) if members % n == 0 and n <= most)
    parts = []
    for part in (slice(start, start + size) for start in range(0, members, size)):
        shown = tf.constant(batches[:, part] if own else batches, tf.int32)
        given = patches, data.labels, shown, tf.constant(rates[:, part])
        free = [nets.free(x, axis) for x, axis in zip(given, (0 if own else 1, 0, 0, 0), strict=True)]
        held = [tuple(w[part] for w in of) for of in (layers, velocity)]
        parts.append(loop.get_concrete_function(*held, *numbers, *free)(*held, *numbers, *given))
    *ends, seen = zip(*parts, strict=True)
    layers, velocity = (tuple(tf.concat(w, axis=0) for w in zip(*end, strict=True)) for end in ends)
    seen = np.concatenate([np.moveaxis(one.numpy(), 1, 0) for one in seen])
    return layers, velocity, Record(seen[..., 0], seen[..., 1:-CLASSES], seen[..., -CLASSES:])


def recorded(step: Callable, steps: tf.Tensor, *state: Sequence) -> tuple:
    """Run ``step(i, *state)``, which gives the new state and what it saw; last comes what all of them saw."""

    def body(i, record, *state):
        *state, seen = step(i, *state)
        return i + 1, record.write(i, seen), *state

    start = tf.constant(0), tf.TensorArray(tf.float32, steps), *state
    _, record, *state = tf.while_loop(lambda i, *_: i < steps, body, start, parallel_iterations=1)
    return *state, record.stack()


@functools.cache
def _loop(design, moving, clipped, gradients, compiled):
    # one graph for each set of widths: the products side by side need to know them
    each = tf.nest.map_structure

    @tf.function(autograph=False)
    def loop(layers, velocity, momentum, clip, patches, labels, batches, rates):
        def step(i, weights, velocity):
            rate = rates[i]
            with tf.GradientTape() as tape:
                tape.watch(weights)
                chosen = batches[i]
                axis = 0 if chosen.shape.rank == 2 else 1  # of the images, whose order is each member's own
                _, z = _forward(weights, tf.gather(patches, chosen, axis=axis), design, compiled)
                loss = losses(z, tf.gather(labels, chosen))
                scaled = rate * loss  # once here, not every weight's gradient
            moves = tape.gradient(scaled, weights)
            seen = [loss[:, None]]
            if gradients or clipped:
                # in units of the largest entry where squares of float32 would overflow, or all of them vanish
                whole = _joined(moves)
                largest = tf.reduce_max([tf.reduce_max(tf.abs(g), axis=(1, 2)) for g in whole], axis=0)
                far = (largest > 0) & ((largest < 1e-15) | (largest > 1e15))
                unit = tf.where(far, largest, 1.0)[:, None]
                squares = [tf.reduce_sum(tf.square(g / unit[..., None]), axis=(1, 2)) for g in whole]
                squares = tf.stack(squares, axis=1)
            if gradients:
                seen.append(tf.sqrt(squares) * unit / rate[:, None])
            if clipped:
                longest = clip * rate * tf.math.rsqrt(tf.reduce_sum(squares, axis=1)) / unit[:, 0]
                moves = each(lambda g: tf.minimum(1.0, longest)[:, None, None] * g, moves)
            if moving:
                velocity = moves = each(lambda v, g: momentum * v + g, velocity, moves)
            seen = tf.concat([*seen, tf.reduce_mean(z, axis=1)], axis=1)
            return each(tf.subtract, weights, moves), velocity, seen

        # apart as long as it lasts: cutting them apart and joining the gradients would copy all at each step
        state = _split(layers), _split(velocity)
        weights, velocity, seen = recorded(step, tf.shape(batches)[0], *state)
        return _joined(weights), _joined(velocity), seen

    return loop


# --- measurement ---


class Look(NamedTuple):
    """What networks do on a set of images.

    Attributes:
        loss: Mean cross-entropy in nats (M,).
        accuracy: In % (M,); an output that is not finite is wrong.
        predicted: Share of the images put into each class (M, 10); zero for outputs that are not finite.
        peaks: For each hidden layer, each unit's or channel's largest activation (M, n): the unit is dead on
            these images where that is not above 0.
    """

    loss: np.ndarray
    accuracy: np.ndarray
    predicted: np.ndarray
    peaks: list[np.ndarray]

    @property
    def dead(self) -> np.ndarray:
        """Share of dead units in each hidden layer (M, L - 1)."""
        return np.stack([(~(peak > 0)).mean(axis=1) for peak in self.peaks], axis=1)


@functools.cache
def _seen(design):
    @tf.function(autograph=False)
    def seen(layers, patches, labels):
        hidden, z = forward(layers, patches, design)
        peaks = [tf.reduce_max(h, axis=list(range(1, h.shape.rank - 1))) for h in hidden]
        return losses(z, labels), z, peaks

    return seen


def look(layers: Sequence[tf.Tensor], data: Images, design: Design) -> Look:
    """Run networks over images.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        data: N images.
        design: Of the networks.
    """
    layers, parts = tuple(layers), []
    for i in range(0, len(data), PIECE):
        piece = data.part(slice(i, i + PIECE))
        free = nets.free(piece.patches, 1), nets.free(piece.labels, 0)
        graph = _seen(design).get_concrete_function(layers, *free)
        parts.append((len(piece), *graph(layers, *piece)))
    sizes, loss, z, peaks = zip(*parts, strict=True)
    guess = diagnose.guess(np.concatenate([part.numpy() for part in z], axis=1))
    return Look(
        sum(n * each.numpy().astype(np.float64) for n, each in zip(sizes, loss, strict=True)) / len(data),
        100 * (guess == data.labels.numpy()).mean(axis=1),
        np.stack([(guess == c).mean(axis=1) for c in range(CLASSES)], axis=1),
        [np.max([p.numpy() for p in each], axis=0) for each in zip(*peaks, strict=True)],
    )


@functools.cache
def _gradient(design):
    @tf.function(autograph=False)
    def gradient(layers, patches, labels):
        with tf.GradientTape() as tape:
            tape.watch(layers)
            mean = loss(layers, patches, labels, design)
        return tape.gradient(mean, layers)

    return gradient


def gradient(layers: Sequence[tf.Tensor], data: Images, design: Design) -> list[np.ndarray]:
    """Gradient of the mean loss over all images, in the shapes of the layers: float64 sums of float32."""
    total = [0.0] * len(layers)
    for i in range(0, len(data), PIECE):
        piece = data.part(slice(i, i + PIECE))
        for k, g in enumerate(_gradient(design)(tuple(layers), *piece)):
            with np.errstate(invalid="ignore"):  # what overflows is told as NaN
                total[k] = total[k] + g.numpy().astype(np.float64) * len(piece)
    return [t / len(data) for t in total]
