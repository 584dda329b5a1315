"""Stochastic gradient descent on many small networks at once.

The loop runs inside one TensorFlow graph, in one of two forms. On TensorFlow's plain kernels many networks
are trained at once, and those that share their batches share the first product, with all members' first
layers side by side. As a program of XLA, which has less to start for each small product, one network is, or a
few; it reads and writes the first layer by tiles (`_loop`). In both, an input that is zero in every example
has no gradient, so it is left out of that layer. Tests hold the result to a textbook loop over one network.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lib import checks, data, nets
from lib.backend import tf


class Inputs:
    """Training inputs, with what the engine derives from them once. Pixels stay bytes until they are used."""

    def __init__(self, x: np.ndarray, divisor: int | None = None, dtype: str = "float32"):
        """Takes the inputs.

        Args:
            x: Inputs (N, D), float32 or float64, finite; or pixels, uint8.
            divisor: Pixels are divided by this, as by `lib.data.scale`.
            dtype: Float type that pixels are scaled to.

        Raises:
            ValueError: x is not a finite float matrix, or no matrix of pixels where there is a divisor; or
                the divisor or the type is none that `lib.data.scale` takes.
        """
        x = np.asarray(x)
        if divisor is not None:
            checks.must(x.ndim == 2, "x", "a matrix of pixels (N, D)", f"shape {x.shape}")
            self.dtype = tf.as_dtype(data.scale(x[:1], divisor, dtype).dtype)
        elif x.ndim != 2 or x.dtype not in (np.float32, np.float64) or not np.isfinite(x).all():
            got = f"{x.dtype} of shape {x.shape}"
            raise ValueError(f"x must be a finite float32 or float64 matrix (N, D), got {got}")
        else:
            self.dtype = tf.as_dtype(x.dtype)
        self.given, self.divisor, self._tiles = x, divisor, {}
        # by this XLA divides pixels where it needs them; by others not, since it multiplies by their inverse
        self.late = divisor if divisor == 256 else None
        self.used = np.flatnonzero(np.append(x.any(axis=0), True))  # the last one is the bias

    def __len__(self) -> int:
        """Number of examples N."""
        return len(self.given)

    def part(self, examples: slice) -> tf.Tensor:
        """Some of the inputs, scaled: (n, D)."""
        return tf.constant(self._scaled(self.given[examples]))

    def _scaled(self, x):
        return x if self.divisor is None else data.scale(x, self.divisor, self.dtype.as_numpy_dtype)

    @functools.cached_property
    def x(self) -> tf.Tensor:
        """All inputs, scaled: (N, D)."""
        return self.part(slice(None))

    @functools.cached_property
    def whole(self) -> tf.Tensor:
        """All inputs with a column of ones, those that are never there as well: (N, D + 1)."""
        return nets.with_ones(self.part(slice(None)))

    @functools.cached_property
    def seen(self) -> tf.Tensor:
        """The inputs that are ever there, with a column of ones: (N, D' + 1)."""
        x = self._scaled(self.given[:, self.used[:-1]])
        return tf.constant(np.append(x, np.ones((len(x), 1), x.dtype), axis=1))

    def tiles(self, every: bool) -> tf.Tensor:
        """The inputs that are ever there, or all: (N, C), with zeros up to whole tiles (`TILE`).

        The first of the zeros stands where the column of ones belongs. Pixels are as given if `late`.
        """
        columns = np.arange(self.given.shape[1]) if every else self.used[:-1]
        if len(columns) not in self._tiles:
            x, room = self.given[:, columns], _up(len(columns) + 1, TILE) - len(columns)
            x = np.pad(x if self.late else self._scaled(x), ((0, 0), (0, room)))
            self._tiles[len(columns)] = tf.constant(x)
        return self._tiles[len(columns)]


def _up(count, step):
    """The first multiple of the step from there on."""
    return -(-count // step) * step


class Loss(NamedTuple):
    """A loss by its gradient at the output's pre-activation z: ``delta(z, target)``, for one example."""

    value: Callable
    delta: Callable


def _softmax_value(z, y):
    return tf.nn.softmax_cross_entropy_with_logits(labels=tf.broadcast_to(y, tf.shape(z)), logits=z)


def _quadratic_delta(z, y):
    a = tf.sigmoid(z)
    return tf.raw_ops.SigmoidGrad(y=a, dy=a - y)


LOSSES = {
    # softmax output, cross-entropy to a target distribution
    "cross-entropy": Loss(_softmax_value, lambda z, y: tf.nn.softmax(z) - y),
    # one sigmoid for each output, binary cross-entropy to targets in 0..1, summed over the outputs
    "binary cross-entropy": Loss(
        lambda z, y: tf.reduce_sum(tf.nn.relu(z) - z * y + tf.math.softplus(-tf.abs(z)), axis=-1),
        lambda z, y: tf.sigmoid(z) - y,
    ),
    # sigmoid outputs, half the squared error, summed over the outputs: Nielsen's quadratic cost, whose
    # gradient vanishes with the slope of a saturated output
    "quadratic": Loss(lambda z, y: 0.5 * tf.reduce_sum((tf.sigmoid(z) - y) ** 2, axis=-1), _quadratic_delta),
    # linear output, half the squared error, summed over the outputs
    "squared error": Loss(lambda z, y: 0.5 * tf.reduce_sum((z - y) ** 2, axis=-1), lambda z, y: z - y),
}

# dL/dz of a hidden unit from its activation h and dL/dh
_BACK = {
    "tanh": lambda h, d: tf.raw_ops.TanhGrad(y=h, dy=d),
    "sigmoid": lambda h, d: tf.raw_ops.SigmoidGrad(y=h, dy=d),
    "relu": lambda h, d: tf.raw_ops.ReluGrad(gradients=d, features=h),
}


class Optimiser(NamedTuple):
    """An update rule.

    Attributes:
        slots: Initial value of each tensor of state that it keeps for a layer.
        update: ``update(w, g, slots, rate, t, norm)`` gives the new w and slots; t counts steps from 1, and
            ``norm(g)`` is the Euclidean norm of each member's g, in a shape that divides g.
    """

    slots: tuple[float, ...]
    update: Callable


def _momentum(w, g, slots, rate, t, norm=None, decay=0.9):
    velocity = decay * slots[0] + g
    return w - rate * velocity, (velocity,)


def _adagrad(w, g, slots, rate, t, norm=None):
    total = slots[0] + g * g
    return w - rate * g * tf.math.rsqrt(total), (total,)


def _normalised(w, g, slots, rate, t, norm=None):
    return w - rate * tf.math.divide_no_nan(g, norm(g)), ()  # no gradient, no step


def _adam(w, g, slots, rate, t, norm=None, decay1=0.9, decay2=0.999, epsilon=1e-8):
    first = decay1 * slots[0] + (1 - decay1) * g
    second = decay2 * slots[1] + (1 - decay2) * g * g
    t = tf.cast(t, w.dtype)
    step = rate * tf.sqrt(1 - tf.constant(decay2, w.dtype) ** t) / (1 - tf.constant(decay1, w.dtype) ** t)
    return w - step * first / (tf.sqrt(second) + epsilon), (first, second)


# Constants as in TensorFlow's optimisers of 2016: momentum 0.9, Adagrad's accumulator from 0.1, Adam's from
# its paper.
OPTIMISERS = {
    # g comes multiplied by the rate, see _loop
    "sgd": Optimiser((), lambda w, g, slots, rate, t, norm=None: (w - g, ())),
    "momentum": Optimiser((0.0,), _momentum),
    "adagrad": Optimiser((0.1,), _adagrad),
    "adam": Optimiser((0.0, 0.0), _adam),
    "normalised": Optimiser((), _normalised),  # each layer's gradient is divided by its norm
}

BLOCK = 100  # examples in a block of small batches; measured, see _loop
TILE = 12  # rows of the first layer that XLA's program multiplies at once, see _loop; 8 to 16 are as fast
LINE = 64  # bytes of a processor's vectors and cache lines: the first layer's rows are filled up to them
TERMS = 16  # examples in a batch whose products are written out: more do not fit the processor's registers
# Steps that XLA's program is made for, or a multiple of them: it is compiled once for all lengths.
LONG = 5000


class State:
    """What an optimiser keeps between two calls of `fit`, for a training that stops to be looked at."""

    def __init__(self):
        """Nothing yet: the first call starts the optimiser."""
        self.steps, self.optimiser, self.slots = 0, None, None


def cycled(count: int, size: int, steps: int) -> np.ndarray:
    """Batches of consecutive examples in fixed order, starting again at the end: int32 (T, B).

    Args:
        count: Number of examples N, a multiple of the size.
        size: Examples in a batch B.
        steps: Number of batches T.

    Raises:
        ValueError: The size does not divide the count, or an argument is not a positive whole number.
    """
    if not all(isinstance(n, (int, np.integer)) for n in (count, size, steps)):
        raise ValueError(f"count, size and steps must be whole numbers, got {count}, {size} and {steps}")
    if min(count, size, steps) < 1:
        raise ValueError(f"count, size and steps must be at least 1, got {count}, {size} and {steps}")
    if count % size:
        raise ValueError(f"a batch of {size} does not divide {count} images; choose a divisor of {count}")
    return (np.arange(steps)[:, None] * size + np.arange(size)) % count


def fit(
    layers: Sequence[tf.Tensor],
    inputs: Inputs,
    targets: np.ndarray,
    batches: np.ndarray,
    rates: np.ndarray,
    *,
    hidden: str,
    loss: str,
    optimiser: str = "sgd",
    trained: Sequence[bool] | None = None,
    decay: float | Sequence[float] = 0.0,
    decay_biases: bool = False,
    state: State | None = None,
    compiled: bool = False,
) -> tuple[tf.Tensor, ...]:
    """Train M networks for T steps on the sum of the losses over each batch.

    Args:
        layers: L tensors (M, n_in + 1, n_out): the last gives the output, those before it are hidden.
        inputs: N training inputs, shared by all members.
        targets: (N, K), or (M, N, K) for targets of each member's own.
        batches: Example numbers, int (T, B) if members share their batches, else (T, M, B).
        rates: Learning rate of each step (T,); for 'sgd' also of each step and member (T, M).
        hidden: Activation of the hidden units, in `lib.nets.ACTIVATIONS`.
        loss: Name in `LOSSES`.
        optimiser: Name in `OPTIMISERS`.
        trained: For each layer, whether it learns; default all.
        decay: L2 coefficient: this times the weights is added to their gradient, 0 or more; one for all
            members, or one for each (M,).
        decay_biases: Whether the biases decay, too.
        state: Continue the optimiser of an earlier call with the same networks; it is brought up to date.
            Two calls then give what one gives: to the bit, but for small batches, whose blocks (`BLOCK`) a
            new call begins anew; there to rounding.
        compiled: Run the loop as a program of XLA, which takes half a second to start for each new set of
            shapes, however many steps. It is equal to rounding, and faster for batches up to `TERMS` of one
            to about six networks that share them; with plain steps also for any number of networks with
            batches of their own, each of which is then trained alone.

    Returns:
        The trained layers, in the shapes of ``layers``. Member k is the network that would come of training
        it alone: to the bit where ``compiled`` does so, and in chunks of the same size, a multiple of 16; to
        rounding otherwise. (At the end of an array that does not fill the processor's vectors, TensorFlow's
        sigmoid, square root and tanh in float64 round differently, so there a member's place would count.)

    Raises:
        ValueError: An argument's name, shape or range does not fit; raised before any training.
    """
    layers = tuple(layers)
    if not layers or any(
        a.shape[0] != b.shape[0] or a.shape[2] + 1 != b.shape[1] or a.dtype != b.dtype
        for a, b in zip(layers[:-1], layers[1:], strict=True)
    ):
        wanted = "tensors (M, n_in + 1, n_out) of one type that fit on each other"
        raise ValueError(f"layers must be {wanted}, got {[tuple(layer.shape) for layer in layers]}")
    members, dtype = layers[0].shape[0], layers[0].dtype
    trained = (True,) * len(layers) if trained is None else tuple(map(bool, trained))
    batches, rates = np.asarray(batches), np.asarray(rates)
    targets = tf.convert_to_tensor(targets, dtype)
    _check_names(hidden, loss)
    checks.choice(OPTIMISERS)("optimiser", optimiser)
    if len(trained) != len(layers) or not any(trained):
        raise ValueError(f"trained must hold {len(layers)} flags, at least one true, got {trained}")
    columns = inputs.given.shape[1]
    if inputs.dtype != dtype or columns + 1 != layers[0].shape[1]:
        first = f"{dtype.name} and takes {layers[0].shape[1] - 1}"
        raise ValueError(f"inputs are {inputs.dtype.name} with {columns} columns, the first layer is {first}")
    one = (len(inputs), layers[-1].shape[2])
    if tuple(targets.shape) not in (one, (members, *one)):
        raise ValueError(f"targets must be {one} or {(members, *one)}, got {tuple(targets.shape)}")
    if batches.ndim not in (2, 3) or (batches.ndim == 3 and batches.shape[1] != members):
        raise ValueError(f"batches must be (T, B) or (T, {members}, B), got {batches.shape}")
    whole = np.issubdtype(batches.dtype, np.integer)
    if not (whole and batches.size and batches.min() >= 0 and batches.max() < len(inputs)):
        raise ValueError(f"batches must hold example numbers from 0 to {len(inputs) - 1}")
    each = optimiser == "sgd" and rates.shape == (len(batches), members)  # a rate for each member
    if not (each or rates.shape == (len(batches),)) or not (np.isfinite(rates).all() and (rates >= 0).all()):
        raise ValueError(f"rates must be {len(batches)} finite numbers of at least 0, one for each batch")
    decays = np.asarray(decay, float)
    if decays.shape not in ((), (members,)) or not ((decays >= 0) & (decays < np.inf)).all():
        or_each = f"or one for each of {members} members"
        raise ValueError(f"decay must be a finite number of at least 0, got {decay}; {or_each}")
    shared, decay = batches.ndim == 2, bool(decays.any())
    plain = optimiser == "sgd"
    state = State() if state is None else state
    # with decay, the weights of an input that is never there change as well
    used = np.arange(columns + 1) if decay else inputs.used
    rows = tf.transpose(layers[0], (1, 0, 2))  # the inputs first, so that rows can be taken and put back
    held = tf.transpose(tf.gather(rows, used), (1, 0, 2))
    held = (nets.wide(held) if shared else held, *layers[1:])
    start = OPTIMISERS[optimiser].slots
    slots = tuple(tuple(tf.fill(tf.shape(w), tf.constant(s, dtype)) for s in start) for w in held)
    if state.slots is not None:
        kept, wanted = (
            (name, *(f"{w.dtype.name} {tuple(w.shape)}" for layer in of for w in layer))
            for name, of in ((state.optimiser, state.slots), (optimiser, slots))
        )
        if kept != wanted:
            same = "of the same optimiser, networks and inputs, with or without decay as before"
            raise ValueError(f"state must be {same}: it holds {kept}, this call needs {wanted}")
        slots = state.slots
    if compiled and plain and not shared:
        how = {"hidden": hidden, "loss": loss, "trained": trained, "decay_biases": decay_biases}
        alone = []
        for m, strength in enumerate(np.broadcast_to(decays, members)):
            one, rate = [w[m : m + 1] for w in layers], rates[:, m] if each else rates
            target = targets[m] if targets.shape.rank == 3 else targets
            alone.append(fit(one, inputs, target, batches[:, m], rate, decay=strength, compiled=True, **how))
        state.steps, state.optimiser, state.slots = state.steps + len(batches), optimiser, slots
        return tuple(tf.concat(layer, axis=0) for layer in zip(*alone, strict=True))
    # Blocks need the plain rule, a first layer that learns, and batches small enough to be worth it; XLA is
    # no faster with them.
    block = BLOCK // batches.shape[-1]
    if compiled or not (plain and shared and trained[0] and not decay and block >= 5):
        block = 1
    tiled = compiled and plain
    divisor = inputs.late if tiled else None
    seen = inputs.tiles(decay) if tiled else inputs.whole if decay else inputs.seen
    structure = hidden, loss, optimiser, trained, shared, decay, decay_biases, compiled, divisor
    whole = len(batches) - len(batches) % block
    for size, chosen in ((block, slice(0, whole)), (1, slice(whole, None))):
        if steps := len(batches[chosen]):
            room = -steps % LONG if compiled else 0  # for steps that are not run
            numbers, paces = (
                np.pad(v[chosen], [(0, room)] + [(0, 0)] * (v.ndim - 1)).reshape(-1, size, *v.shape[1:])
                for v in (batches, rates)
            )
            counts = tf.constant(steps // size), tf.constant(state.steps)
            # rates and decays are infinite where they are beyond float32
            given = tf.constant(numbers, tf.int32), tf.cast(paces, dtype), tf.cast(decays, dtype)
            held, slots = _loop(*structure, size)(held, slots, *counts, seen, targets, *given)
            state.steps += steps
    state.optimiser, state.slots = optimiser, slots
    first = nets.stacked(held[0], members) if shared else held[0]
    rows = tf.tensor_scatter_nd_update(rows, used[:, None], tf.transpose(first, (1, 0, 2)))
    return (tf.transpose(rows, (1, 0, 2)), *held[1:])


def gradient(
    layers: Sequence[tf.Tensor],
    inputs: Inputs,
    targets: np.ndarray,
    examples: slice = slice(None),
    *,
    hidden: str,
    loss: str,
) -> tuple[tf.Tensor, ...]:
    """Gradient of the mean loss over the examples, by the same rules as in `fit`.

    Args:
        layers: L tensors (M, n_in + 1, n_out).
        inputs: N inputs.
        targets: (N, K).
        examples: Which of the inputs, consecutive ones; default all.
        hidden: Activation of the hidden units, in `lib.nets.ACTIVATIONS`.
        loss: Name in `LOSSES`.

    Returns:
        In the shapes of ``layers``.

    Raises:
        ValueError: Unknown activation or loss, or no examples, or not consecutive ones.
    """
    _check_names(hidden, loss)
    first, last, step = examples.indices(len(inputs))
    checks.must(step == 1, "examples", "a slice of consecutive ones", examples)
    checks.must(first < last, "examples", "at least one", "none")
    targets = tf.convert_to_tensor(targets, layers[0].dtype)
    total = [tf.zeros_like(layer) for layer in layers]
    for i in range(first, last, PIECE):
        piece = slice(i, min(i + PIECE, last))
        found = _gradient(tuple(layers), inputs.part(piece), targets[piece], hidden, loss)
        total = [t + part for t, part in zip(total, found, strict=True)]
    return tuple(t / tf.cast(last - first, t.dtype) for t in total)


def _check_names(hidden: str, loss: str) -> None:
    checks.choice(nets.ACTIVATIONS)("hidden", hidden)
    checks.choice(LOSSES)("loss", loss)


PIECE = 1000  # examples at a time: their activations then stay in the cache


def back(layers, z, target, hidden, loss):
    """From the first layer's pre-activations: what each later layer multiplies, and dL/dz of each layer.

    Args:
        layers: L tensors (M, n_in + 1, n_out), of which the first is not looked at.
        z: Pre-activations of the first layer (M, N, n).
        target: (N, K) or (M, N, K).
        hidden: Activation of the hidden units, in `lib.nets.ACTIVATIONS`.
        loss: Name in `LOSSES`.

    Returns:
        L - 1 inputs of the later layers, with a column of ones (M, N, n + 1); L gradients (M, N, n) of each
        example's loss at the pre-activations.
    """
    values, below = [], []
    for w in layers[1:]:
        values.append(nets.ACTIVATIONS[hidden](z))
        below.append(nets.with_ones(values[-1]))
        z = tf.matmul(below[-1], w)
    deltas = [LOSSES[loss].delta(z, target)]
    for h, w in zip(values[::-1], layers[:0:-1], strict=True):
        deltas.insert(0, _BACK[hidden](h, tf.matmul(deltas[0], w[:, :-1], transpose_b=True)))
    return below, deltas


@tf.function(autograph=False)  # a graph for each set of shapes, which the products side by side need
def _gradient(layers, x, y, hidden, loss):
    x, members = nets.with_ones(x), layers[0].shape[0]
    z = nets.stacked(tf.matmul(x, nets.wide(layers[0])), members)
    below, (d, *deltas) = back(layers, z, y, hidden, loss)
    first = nets.stacked(tf.matmul(x, nets.wide(d), transpose_a=True), members)
    return (first, *(tf.matmul(b, d, transpose_a=True) for b, d in zip(below, deltas, strict=True)))


@functools.cache
def _loop(hidden, loss, optimiser, trained, shared, decay, decay_biases, compiled, divisor, block):
    """The compiled training loop for one structure; TensorFlow traces it once for each set of widths.

    With small batches the first layer's weights are read and written so often that this takes longer than
    the products. So they stay as they are for a block of batches: with the rows x_t of its batches and the
    gradients d_t at the first layer's pre-activations, the weights before batch t are W - sum over s < t of
    x_s' d_s, and its pre-activations x_t W - sum of (x_t x_s') d_s. The first terms are one large product for
    the block, and so is the update at its end; the products x_t x_s' are the same for all members.

    In a program of XLA, plain steps need no block. Its products of such shapes are slow, but what is written
    out as a sum of a few products for each number it keeps in the processor's registers: going forward a sum
    for each tile of rows, and then that of all tiles; in the update a sum over the batch's examples.
    """
    activate, back, delta = nets.ACTIVATIONS[hidden], _BACK[hidden], LOSSES[loss].delta
    update = OPTIMISERS[optimiser].update
    lowest = trained.index(True)
    tiled = compiled and optimiser == "sgd"

    def changed(w, gradient, slots, rate, t, members, strength, shape=None):
        if decay:
            # the biases, in the last row, decay only if told
            rows = tf.shape(w)[-2]
            last = (rows if shape is None else shape[0]) - 1
            decaying = w if decay_biases else w * tf.one_hot([last], rows, 0.0, 1.0, 0, w.dtype)
            strength = rate * strength if optimiser == "sgd" else strength
            if strength.shape.rank:  # one for each member: stacked, or side by side
                if w.shape.rank == 3:
                    strength = strength[:, None, None]
                else:
                    columns = w.shape[1] if shape is None else shape[1]
                    strength = tf.repeat(strength, columns // members)
                    strength = tf.pad(strength, [(0, w.shape[1] - columns)])
            gradient += strength * decaying
        return update(w, gradient, slots, rate, t, functools.partial(_norm, members=members))

    def step(i, layers, slots, shape, before, inputs, targets, batches, rates, strength):
        layers, slots = list(layers), list(slots)
        members = layers[1].shape[0] if len(layers) > 1 else shape[-1] // targets.shape[-1]
        examples = tf.reshape(batches[i], (-1,)) if shared else batches[i, 0]
        rows = tf.gather(inputs, examples)
        if tiled:
            rows = tf.cast(rows, layers[0].dtype) / divisor if divisor else rows
            rows += tf.one_hot(shape[0] - 1, rows.shape[1], dtype=rows.dtype)
            first = _by_tiles(rows, layers[0])[:, : shape[1]]
        else:
            first = tf.matmul(rows, layers[0])
        size = batches.shape[-1]
        alike = tf.matmul(rows, rows, transpose_b=True) if block > 1 else None
        moves = []  # what each batch does to the first layer, but for its rows
        for j in range(block):
            batch, rate, t = batches[i, j], rates[i, j], before + i * block + j + 1
            z = first
            if block > 1:
                z = z[j * size : (j + 1) * size]
            if moves:
                z -= tf.matmul(alike[j * size : (j + 1) * size, : j * size], tf.concat(moves, axis=0))
            if shared:
                z = nets.stacked(z, members)
            below = [rows]  # what each layer multiplies; hidden activations carry a column of ones
            values = []
            for layer in layers[1:]:
                values.append(activate(z))
                below.append(nets.with_ones(values[-1]))
                z = tf.matmul(below[-1], layer)
            if targets.shape.rank == 2:
                target = tf.gather(targets, batch)
            elif shared:
                target = tf.gather(targets, batch, axis=1)
            else:
                target = tf.gather(targets, batch, batch_dims=1)
            d = delta(z, target)
            if optimiser == "sgd":  # the rate multiplies once here, not every weight's gradient
                d *= rate[:, None, None] if rate.shape.rank else rate
            for k in range(len(layers) - 1, lowest - 1, -1):
                if k > lowest:
                    lower = back(values[k - 1], tf.matmul(d, layers[k][:, :-1], transpose_b=True))
                if k == 0:
                    moves.append(nets.wide(d) if shared else d)
                elif trained[k]:
                    gradient = tf.matmul(below[k], d, transpose_a=True)
                    layers[k], slots[k] = changed(layers[k], gradient, slots[k], rate, t, members, strength)
                if k > lowest:
                    d = lower
        if moves:
            moves = tf.concat(moves, axis=0) if block > 1 else moves[0]
            if tiled:
                moves = tf.pad(moves, [(0, 0), (0, layers[0].shape[1] - shape[1])])
                # A product, since XLA computes anything cheaper anew for every number that it is added to.
                moves = tf.matmul(tf.eye(size, dtype=moves.dtype), moves)
            if tiled and size <= TERMS:
                gradient = sum(rows[k][:, None] * moves[k] for k in range(size))
            else:
                gradient = tf.matmul(rows, moves, transpose_a=True)
            layers[0], slots[0] = changed(
                layers[0], gradient, slots[0], rate, t, members, strength, shape if tiled else None
            )
        return i + 1, tuple(layers), tuple(slots)

    # one graph for each set of widths: the products side by side need to know them
    @functools.partial(tf.function, autograph=False, jit_compile=compiled or None)
    def loop(layers, slots, rounds, before, inputs, *given):
        shape = layers[0].shape
        if tiled:  # whole tiles of whole lines
            columns = _up(shape[1], LINE // layers[0].dtype.size)
            room = [(0, inputs.shape[1] - shape[0]), (0, columns - shape[1])]
            layers = (tf.pad(layers[0], room), *layers[1:])
        _, layers, slots = tf.while_loop(
            lambda i, *_: i < rounds,
            lambda i, layers, slots: step(i, layers, slots, shape, before, inputs, *given),
            (tf.constant(0), layers, slots),
            parallel_iterations=1,
        )
        return ((layers[0][: shape[0], : shape[1]], *layers[1:]) if tiled else layers), slots

    def of_any_length(layers, slots, rounds, before, inputs, targets, batches, rates, strength):
        """By one graph for any number of steps and examples; with plain steps also of inputs ever there."""
        rows = optimiser == "sgd" and shared  # TensorFlow regroups Adagrad's product where it knows the shape
        held = (nets.free(layers[0], 0), *layers[1:]) if rows else layers
        seen = nets.free(inputs, 0, 1) if rows else nets.free(inputs, 0)
        free = nets.free(targets, -2), nets.free(batches, 0), nets.free(rates, 0)
        graph = loop.get_concrete_function(held, slots, rounds, before, seen, *free, strength)
        return graph(layers, slots, rounds, before, inputs, targets, batches, rates, strength)

    return loop if compiled else of_any_length


def _by_tiles(rows, w):
    """The product (B, C) x (C, n) for XLA: written out for each tile, then added up over tiles."""
    x = tf.transpose(tf.reshape(rows, (rows.shape[0], -1, TILE)), (1, 0, 2))
    w = tf.reshape(w, (-1, TILE, w.shape[1]))
    return tf.reduce_sum(sum(x[:, :, k, None] * w[:, None, k] for k in range(TILE)), axis=0)


def _norm(g, members):
    """Norm of each member's gradient, in a shape that divides g; g lies side by side or stacked."""
    if g.shape.rank == 3:
        parts, axes = g, (1, 2)
    else:
        parts, axes = tf.reshape(g, (g.shape[0], members, -1)), (0, 2)
    # the largest entry first: the squares of a tiny gradient would vanish
    largest = tf.reduce_max(tf.abs(parts), axis=axes, keepdims=True)
    parts = tf.math.divide_no_nan(parts, largest)
    norm = largest * tf.sqrt(tf.reduce_sum(parts * parts, axis=axes, keepdims=True))
    return norm if g.shape.rank == 3 else tf.repeat(tf.reshape(norm, (-1,)), parts.shape[2])
