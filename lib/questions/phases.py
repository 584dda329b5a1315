"""Networks trained in phases, each taking up the networks that the last one left: Nielsen's network.

The job for `lib.ensembles` behind the chapter on broken networks. A network has sigmoid units throughout and
starts with weights and biases from N(0, 1). A phase may first change the networks it takes up (`CHANGES`),
then trains them epoch by epoch on batches shuffled anew, and looks at them after the epochs it is told to.

Source: M. Nielsen, Neural Networks and Deep Learning, chapter 1, ``network.py``.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from lib import data, diagnose, nets, order, streams, train
from lib.backend import tf
from lib.checks import choice, flag, number, optional, whole, wholes
from lib.questions import images, settings

CHUNK = 20  # seeds at once; measured: with fewer the cores do less, with more nothing is gained
# images at once; measured: networks with batches as large are faster one by one, in less memory
AT_ONCE = 2000
TRAINING = 50_000
PROBED = 5_000  # training images that the recorded gradients are taken over
PRECISIONS = ("float64", "float32")
LARGEST = sys.float_info.max
# optimisers whose steps are as long as the gradients; the others' lengths are fixed
ALONG = ("sgd", "momentum")


@dataclass(frozen=True)
class Phase(settings.Chain):
    """One phase. The learning rate multiplies the gradient of the mean cost over a batch.

    Attributes:
        after: The phase that leaves the networks to take up; None starts with fresh ones.
        epochs: Passes over the training images; 0 only looks.
        batch: Images in a batch; what is left at the end of an epoch makes a smaller one, as in the source.
        rate: Learning rate, eta in the source; for Adam, Adagrad and the normalised rule the length of a
            step, whatever the size of the gradient and the batch.
        loss: 'quadratic' as in the source, or 'binary cross-entropy', on the same sigmoid outputs.
        optimiser: Name in `lib.train.OPTIMISERS`.
        decay: L2 regularisation, lambda in the source's chapter 3: lambda / 2n |w|^2 is added to the cost.
        decay_biases: Whether to the biases as well, which the source leaves out.
        change: Name in `CHANGES` and its arguments: what is done to the networks first.
        updates: Stop after this many updates of each epoch; None for all.
        looks: Epochs after which the networks are looked at, from 0 (before training, after any change);
            they always are after the last one, and epochs beyond it do not count.
        keep: Whether the result holds the networks, for phases that follow or to look into them.
        images: Training images, the first ones of Nielsen's 50,000.
        hidden: Hidden units.
        precision: 'float64' as in the source, or 'float32'.
    """

    same: ClassVar[tuple[str, ...]] = ("hidden", "images")

    after: "Phase | None" = None
    epochs: Annotated[int, whole(0, 10**6)] = 30
    batch: Annotated[int, whole(1, TRAINING)] = 10
    rate: Annotated[float, number(0, LARGEST)] = 3.0
    loss: Annotated[str, choice(("quadratic", "binary cross-entropy"))] = "quadratic"
    optimiser: Annotated[str, choice(train.OPTIMISERS)] = "sgd"
    decay: Annotated[float, number(0, LARGEST)] = 0.0
    decay_biases: Annotated[bool, flag] = False
    change: tuple = ()
    updates: Annotated[int | None, optional(whole(1, 10**9))] = None
    looks: Annotated[tuple[int, ...], wholes(0, 10**6, rising=True)] = (0, 1, 2, 3, 4, 5, 10, 15, 20, 25, 30)
    keep: Annotated[bool, flag] = False
    images: Annotated[int, whole(1, TRAINING)] = TRAINING
    hidden: Annotated[int, whole(1, 10_000)] = 20
    precision: Annotated[str, choice(PRECISIONS)] = "float64"

    def check(self) -> None:
        """Checks the change and its arguments."""
        change = tuple(self.change) if isinstance(self.change, list) else self.change
        if not isinstance(change, tuple) or (change and not isinstance(change[0], str)):
            raise ValueError(f"change must be a name and its arguments, got {change!r}")
        if change:
            name, *arguments = change
            choice(CHANGES)("change", name)
            if self.after is None:
                raise ValueError(f"change {name!r} needs networks to change: after is None")
            if len(arguments) != CHANGES[name].arguments:
                raise ValueError(f"change {name!r} takes {CHANGES[name].arguments} numbers, got {arguments}")
            finite = number(-LARGEST, LARGEST)
            change = (name, *(finite(f"argument of change {name!r}", argument) for argument in arguments))
            if name == "redraw" and arguments[0] not in (0, 1):
                raise ValueError(f"change 'redraw' takes the number of a layer, 0 or 1, got {arguments[0]!r}")
        object.__setattr__(self, "change", change)

    def config(self) -> dict:
        """As plain data; looks that never come are left out."""
        return super().config() | {"looks": [e for e in self.looks if e < self.epochs] + [self.epochs]}


class Change(NamedTuple):
    """What can be done to networks before a phase.

    Attributes:
        arguments: How many numbers it takes.
        apply: ``apply(layers, fresh, hidden, z, *numbers)`` gives the new layers, float64 arrays. ``fresh``
            are new N(0, 1) layers of the same networks; ``hidden`` and ``z`` are the hidden units'
            activations and the outputs' pre-activations (M, N, n) on the test images.
    """

    arguments: int
    apply: Callable


def _redraw(layers, fresh, hidden, z, number):
    return [f if k == number else w for k, (w, f) in enumerate(zip(layers, fresh, strict=True))]


def _shrink(layers, fresh, hidden, z, factor, sd=0.0):
    return [factor * w + sd * f for w, f in zip(layers, fresh, strict=True)]


def _by_parts(change, layers, fresh):
    """Layers of which weights and biases are changed apart: ``change(part, part of the fresh one)``."""
    return [
        np.concatenate([change(w[:, :-1], f[:, :-1]), change(w[:, -1:], f[:, -1:])], axis=1)
        for w, f in zip(layers, fresh, strict=True)
    ]


def _match(layers, fresh, hidden, z):
    def scaled(like, part):
        size = [np.sqrt((a * a).sum(axis=(1, 2), keepdims=True)) for a in (like, part)]
        return part * size[0] / size[1]

    return _by_parts(scaled, layers, fresh)


def _shuffle(layers, fresh, hidden, z):
    def shuffled(part, by):
        order = by.reshape(len(part), -1).argsort(axis=1, kind="stable")
        return np.take_along_axis(part.reshape(len(part), -1), order, axis=1).reshape(part.shape)

    return _by_parts(shuffled, layers, fresh)


def _by_inputs(layers, fresh, hidden, z):
    return [np.concatenate([w[:, :-1] / np.sqrt(w.shape[1] - 1), w[:, -1:]], axis=1) for w in layers]


def _recycle(layers, fresh, hidden, z, least):
    """As ReDo does: a dead unit gets new incoming weights, and its outgoing ones become zero."""
    dead_hidden, dead_output = (diagnose.deviation(a) < least for a in (hidden, tf.sigmoid(z)))
    first = np.where(dead_hidden[:, None, :], fresh[0], layers[0])
    last = np.array(layers[1])
    last[:, :-1] = np.where(dead_hidden[:, :, None], 0, last[:, :-1])
    return [first, np.where(dead_output[:, None, :], fresh[1], last)]


CHANGES = {
    "redraw": Change(1, _redraw),  # layer 0 or 1 from N(0, 1)
    "shrink": Change(1, _shrink),  # all parameters times a factor
    "shrink and perturb": Change(2, _shrink),  # the same, and noise of a standard deviation (Ash, Adams 2020)
    "match norms": Change(0, _match),  # fresh networks with the norms of each layer's weights and biases
    "shuffle": Change(0, _shuffle),  # weights, and biases, change places within their layer
    "by inputs": Change(0, _by_inputs),  # weights over the root of the number of inputs (source, chapter 3)
    "recycle": Change(1, _recycle),  # units whose activation deviates less than this (Sokar et al. 2023)
}


def job(config: Mapping, seeds: Sequence[int], before: Mapping | None = None) -> dict[str, np.ndarray]:
    """Take networks through one phase, and look at them.

    Args:
        config: From `Phase.config`.
        seeds: M seeds; each network has batches of its own.
        before: What the phase before returned for the same seeds.

    Returns:
        Arrays with M rows, E looks, H hidden units and 10 outputs, on the 10,000 test images if nothing else
        is said. ``accuracy`` (M, E) in %; an output that is not finite is wrong. ``output_sd`` (M, E, 10),
        ``hidden_sd`` (M, E, H): standard deviation of each unit's activation over the images.
        ``output_slope``, ``hidden_slope``: mean 4a(1 - a), 1 for a unit at rest and 0 for a saturated one.
        ``gradient`` (M, E, 2): norm of each layer's gradient of the mean cost over the first training images.
        ``finite`` (M, E): whether all weights are. ``norm`` (M, E, 2): of each layer's parameters.
        ``recall`` (M, E, 10): fraction of each class classified rightly. With ``keep``, ``layer0`` and
        ``layer1``.

    Raises:
        ValueError: The configuration does not fit.
    """
    phase = Phase.of(config)
    dtype = tf.as_dtype(phase.precision)
    shapes = nets.shapes((784, phase.hidden, data.CLASSES))
    if before is None:
        layers = nets.normal(seeds, shapes, streams.weights("initial", 0), dtype)
    else:
        layers = tuple(tf.cast(before[f"layer{k}"], dtype) for k in range(2))
    if phase.change:
        name, *arguments = phase.change
        stream = streams.weights("change", phase.depth)
        fresh = [f.numpy() for f in nets.normal(seeds, shapes, stream, tf.float64)]
        held = [w.numpy().astype(np.float64) for w in layers]
        seen = nets.forward([tf.constant(w) for w in held], images.judged(None, 256, "float64")[0], "sigmoid")
        with np.errstate(all="ignore"):  # overflow is an outcome
            changed = CHANGES[name].apply(held, fresh, *seen, *arguments)
        layers = tuple(tf.cast(w, dtype) for w in changed)
    together = max(1, AT_ONCE // min(phase.batch, phase.images))
    groups = [slice(k, k + together) for k in range(0, len(seeds), together)]
    states, looks = [_State() for _ in groups], []
    for epoch in range(phase.epochs + 1):
        if epoch in phase.looks or epoch == phase.epochs:
            looks.append(_look(layers, phase))
        if epoch < phase.epochs:
            parts = [
                _epoch([w[some] for w in layers], phase, seeds[some], epoch, state)
                for some, state in zip(groups, states, strict=True)
            ]
            layers = tuple(tf.concat(part, axis=0) for part in zip(*parts, strict=True))
    result = {name: np.stack([look[name] for look in looks], axis=1) for name in looks[0]}
    if phase.keep:
        result |= {f"layer{k}": layer.numpy() for k, layer in enumerate(layers)}
    return result


class _State(train.State):
    """What an optimiser keeps, and how large the last batch was."""

    size: int | None = None


def _epoch(
    layers: Sequence[tf.Tensor], phase: Phase, seeds: Sequence[int], epoch: int, state: "_State"
) -> Sequence[tf.Tensor]:
    """Networks after one more epoch, each in an order of its own: whole batches, then what is left."""
    inputs, targets = images.taught(0, phase.images, 256, phase.precision)
    batch = min(phase.batch, len(inputs))
    # phases that follow the same one see the same orders
    orders = [order.epoch(("phase order", int(seed), phase.depth, epoch), len(inputs)) for seed in seeds]
    chosen = np.stack(orders)[:, : (phase.updates or len(inputs)) * batch]
    whole = chosen.shape[1] // batch * batch
    for images_of, size in ((chosen[:, :whole], batch), (chosen[:, whole:], chosen.shape[1] - whole)):
        if not images_of.size:
            continue
        batches = images_of.reshape(len(seeds), -1, size).swapaxes(0, 1)
        # the engine's gradient, and a velocity, is a sum over the batch, the phase's a mean
        last, state.size = state.size or size, size
        if phase.optimiser == "momentum" and size != last:
            state.slots = tuple(tuple(v * (size / last) for v in slot) for slot in state.slots)
        batches = batches[:, 0] if len(seeds) == 1 else batches
        rates = np.full(len(batches), phase.rate / (size if phase.optimiser in ALONG else 1))
        rule = {"loss": phase.loss, "optimiser": phase.optimiser, "decay_biases": phase.decay_biases}
        rule["decay"] = phase.decay * size / len(inputs)
        # measured: in float32 plain kernels are faster for many networks, whatever the batch
        rule["compiled"] = phase.precision == "float64" and phase.optimiser == "sgd" and size <= train.TERMS
        layers = train.fit(layers, inputs, targets, batches, rates, hidden="sigmoid", state=state, **rule)
    return layers


def _look(layers: Sequence[tf.Tensor], phase: Phase) -> dict[str, np.ndarray]:
    x, y = images.judged(None, 256, phase.precision)
    hidden, z = nets.forward(layers, x, "sigmoid")
    output = tf.sigmoid(z)
    right = diagnose.guess(z, output) == y
    inputs, targets = images.taught(0, phase.images, 256, phase.precision)
    gradient = train.gradient(layers, inputs, targets, slice(PROBED), hidden="sigmoid", loss=phase.loss)
    return {
        "accuracy": 100 * right.mean(axis=1),
        "recall": np.stack([right[:, y == c].mean(axis=1) for c in range(data.CLASSES)], axis=1),
        "output_sd": diagnose.deviation(output),
        "hidden_sd": diagnose.deviation(hidden),
        "output_slope": diagnose.sigmoid_slope(output),
        "hidden_slope": diagnose.sigmoid_slope(hidden),
        "gradient": diagnose.norms(gradient),
        "norm": diagnose.norms(layers),
        "finite": diagnose.finite(layers),
    }
