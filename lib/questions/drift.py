"""Networks trained on and on at constant learning rates: the legs of a walk, the networks at their ends.

`job` for `lib.ensembles` trains the arms of a seed under a `Setting`, a leg that begins where another ended.
Every leg is stored when it ends, so the ends are the snapshots: they stream to disk, a worker holds one leg
however long the walk is, and a walk that was killed goes on from its last snapshot.

The arms of a seed start from the same weights and see the same batches, so they differ by their learning rate
and decay alone; two seeds share nothing. The arms then also share products (see `lib.train`).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np

from lib import data, diagnose, nets, order, streams, train
from lib.backend import tf
from lib.checks import choice, must, numbers, optional, whole, wholes
from lib.questions import images, quiet, settings

CHUNK = 1  # seeds at once: each has batches of its own
STEP = 100  # updates that all times are multiples of
PIECES = (5000, 500, STEP)  # updates at a time where noise is taken off
LONGEST = 100_000  # updates of a leg: what an interruption can cost; more in walks of more than MOST legs
MOST = 200  # long legs of a walk
LEGS = 800  # of a walk: they hold one another, and Python's stack is finite
LOSSES = ("cross-entropy", "squared error")
LOOK = 5000  # training images on which a snapshot's loss is taken, at most
WATCH = 5000  # updates between two looks at the objective
ANCHOR = 5000  # updates between two gradients of all images, where noise is taken off
AT_ONCE = 5000  # images at a time in the objective


@dataclass(frozen=True)
class Setting(settings.Chain):
    """A leg of a walk. The learning rate multiplies the gradient of the mean loss of a batch.

    Attributes:
        after: The leg before; None starts with fresh networks.
        updates: Length of the leg, a multiple of 100; 0 only looks.
        hidden: Units of each hidden layer of rectifiers, one or two layers.
        rates: Learning rate of each arm.
        decays: L2 coefficient of each arm: this times the weights, not the biases, joins the gradient of the
            mean loss.
        loss: 'cross-entropy', or 'squared error' for half the squared error of linear outputs.
        batch: Images in a batch; what is left at the end of an epoch is left out.
        sampling: 'shuffled' takes every image once in an epoch, 'drawn' draws each with replacement.
        images: Training images, the first ones of MNIST.
        validation: Validation images, from the 50,000th on.
        order: Number of the stream that orders of the images are drawn from; a clone takes another one.
        watched: Stretches of time in which the objective is looked at every `WATCH` updates and at both ends:
            first and last update of one, of the next, and so on, multiples of 100.
        taken: For each arm the arm of the leg before whose networks it takes up; empty: arm by arm.
        noises: For each arm what is left of the variance of the batches' noise, as `lib.questions.quiet`
            takes it off; None: all of it, in the engine of `lib.train`.
    """

    same: ClassVar[tuple[str, ...]] = ("hidden",)

    after: "Setting | None" = None
    updates: Annotated[int, whole(0, 10**9)] = 0
    hidden: Annotated[tuple[int, ...], wholes(1, 1000, 1, 2)] = (20,)
    rates: Annotated[tuple[float, ...], numbers(1e-12, 1e12)] = (0.1,)
    decays: Annotated[tuple[float, ...], numbers(0, 1e3)] = (0.0,)
    loss: Annotated[str, choice(LOSSES)] = "cross-entropy"
    batch: Annotated[int, whole(1, 1000)] = 10
    sampling: Annotated[str, choice(order.SAMPLING)] = "shuffled"
    images: Annotated[int, whole(1, 50_000)] = 50_000
    validation: Annotated[int, whole(1, 10_000)] = 10_000
    order: Annotated[int, whole(0, 2**31 - 1)] = 0
    watched: Annotated[tuple[int, ...], wholes(0, 2 * 10**9)] = ()
    taken: Annotated[tuple[int, ...], wholes(0, 1000)] = ()
    noises: Annotated[tuple[float, ...] | None, optional(numbers(0, 1))] = None

    def check(self) -> None:
        """Checks what must fit on each other."""
        arms, decays, noises = len(self.rates), len(self.decays), len(self.noises or ())
        must(self.updates % STEP == 0, "updates", f"a multiple of {STEP}", self.updates)
        must(self.batch <= self.images, "batch", f"at most the {self.images} images", self.batch)
        must(decays == arms, "decays", "as many as rates", f"{decays} for {arms} rates")
        must(noises in (0, arms), "noises", "as many as rates", f"{noises} for {arms}")
        pairs = itertools.zip_longest(self.watched[::2], self.watched[1::2], fillvalue=-1)
        paired = all(a <= b and a % STEP == b % STEP == 0 for a, b in pairs)
        wanted = "pairs of times in hundreds, the first not after the last"
        must(paired, "watched", wanted, self.watched)
        if isinstance(self.after, Setting):
            before = self.after.arms
            if not self.taken and before != self.arms:
                raise ValueError(f"arms is {self.arms}, but {before} in the one before")
            if self.taken and (len(self.taken) != self.arms or max(self.taken) >= before):
                raise ValueError(
                    f"taken must name one of {before} arms before for each of {self.arms}, got {self.taken}"
                )

    @property
    def arms(self) -> int:
        """How many arms there are."""
        return len(self.rates)

    @property
    def end(self) -> int:
        """Updates from the fresh networks to the end of this leg."""
        return self.updates + self.before("updates")


def walk(first: Setting, times: Sequence[int]) -> dict[int, Setting]:
    """Legs that end at these times, one after the other; long ones go in several.

    Args:
        first: Where the walk begins; its arms and everything but ``updates`` hold for all legs.
        times: Rising numbers of updates from the fresh networks on, none before the end of ``first``.

    Returns:
        The leg that ends there, by time. A time at which ``first`` itself ends gives ``first``.

    Raises:
        ValueError: The times do not rise, begin before ``first`` ends, or make more than `LEGS` legs.
    """
    rising = len(times) and all(a < b for a, b in itertools.pairwise(times))
    must(rising, "times", "rising, at least one", list(times))
    must(times[0] >= first.end, "times", f"from {first.end} on, where the first leg ends", times[0])
    legs, at, end = {}, first, first.end
    longest = max(LONGEST, int(times[-1]) // MOST // STEP * STEP)
    gaps = np.diff([end, *(int(time) for time in times)])
    if (count := first.depth + 1 + int(-(-gaps // longest).sum())) > LEGS:
        raise ValueError(
            f"a walk must have at most {LEGS} legs, got times for {count}: take fewer waiting times, or a "
            f"smaller per_decade"
        )
    for time in times:
        while (left := int(time) - end) > 0:
            at = replace(first, after=at, updates=min(left, longest), taken=())
            end += at.updates
        legs[int(time)] = at
    return legs


def times(waiting: Sequence[int], last: int, per_decade: int) -> list[int]:
    """Rising times of snapshots, multiples of 100: each waiting time, log-spaced lags after it, and the last.

    Args:
        waiting: Waiting times in updates, multiples of 100; 0 is the fresh network.
        last: Last time, a multiple of 100, after every waiting time.
        per_decade: Lags in each decade, at least 1.

    Raises:
        ValueError: Something above does not hold.
    """
    per_decade = whole(1, 10**6)("per_decade", per_decade)
    fits = len(waiting) and not any(w % STEP for w in (*waiting, last)) and 0 <= min(waiting)
    wanted = f"multiples of {STEP}, the last after all others"
    got = f"{list(waiting)} and {last}"
    must(fits and max(waiting) < last, "waiting times and the last", wanted, got)
    every = (round(10 ** (k / per_decade)) * STEP for k in itertools.count())
    lags, starts = list(itertools.takewhile(lambda lag: lag <= last, every)), [int(w) for w in waiting]
    return sorted({*starts, int(last)} | {w + lag for w in starts for lag in lags if w + lag <= last})


def batches(setting: Setting, seed: int, first: int, count: int) -> np.ndarray:
    """Image numbers of the updates from the first on: (count, B).

    They depend on the seed, the order and the images alone, not on where a leg begins.
    """
    stream = ("drift order", seed, setting.order)
    return order.stretch(stream, setting.images, setting.batch, first, count, setting.sampling)


def fresh(seed: int, hidden: Sequence[int], arms: int) -> tuple[tf.Tensor, ...]:
    """The fresh network of a seed, once for each arm: L layers (A, n_in + 1, n_out), biases 0.

    Weights are normal with standard deviation sqrt(2 / n_in), cut at two standard deviations.

    Source: He et al. 2015, Delving deep into rectifiers, equation 10.
    """
    layers = []
    for k, shape in enumerate(nets.shapes([784, *hidden, data.CLASSES])):
        sd = math.sqrt(2 / (shape[0] - 1))
        layers += nets.truncated_normal([seed], [shape], sd, 0.0, streams.weights("initial", k))
    return tuple(tf.repeat(w, arms, axis=0) for w in layers)


def losses(z: tf.Tensor, y: np.ndarray, loss: str) -> np.ndarray:
    """Mean loss (nats for cross-entropy) and error in % of M members' outputs (M, N, K): (2, M).

    An output that is not finite is wrong.
    """
    value = train.LOSSES[loss].value(z, tf.one_hot(y, data.CLASSES, dtype=z.dtype))
    error = 100 * tf.reduce_mean(tf.cast(diagnose.guess(z) != y, z.dtype), axis=1)
    return tf.stack([tf.reduce_mean(value, axis=1), error]).numpy()


def looks_of(setting: Setting) -> list[int]:
    """Times in a leg at which the objective is looked at; that of its beginning belongs to the leg before."""
    found = set()
    for a, b in zip(setting.watched[::2], setting.watched[1::2], strict=True):
        found |= {a, b, *range(-(-a // WATCH) * WATCH, b, WATCH)}
    return sorted(t for t in found if setting.end - setting.updates < t <= setting.end)


def objective(layers: Sequence[tf.Tensor], inputs: train.Inputs, targets: np.ndarray, setting: Setting):
    """What training makes smaller, of each arm (A,).

    It is the mean loss over all images, and half the decay times the sum of all squared weights, no biases.
    """
    total = np.zeros(setting.arms)
    for i in range(0, len(inputs), AT_ONCE):
        z = nets.forward(layers, inputs.part(slice(i, i + AT_ONCE)), "relu")[-1]
        value = train.LOSSES[setting.loss].value(z, targets[i : i + AT_ONCE])
        total += tf.reduce_sum(value, axis=1).numpy()
    squares = sum((w[:, :-1].numpy().astype(float) ** 2).sum(axis=(1, 2)) for w in layers)
    return total / len(inputs) + np.array(setting.decays) / 2 * squares


def job(config: Mapping, seeds: Sequence[int], before: Mapping | None = None) -> dict[str, np.ndarray]:
    """Train the arms of a seed through a leg, and look at them at its end.

    Args:
        config: `Setting.config` of the leg.
        seeds: One seed, as `ensemble.run` gives with chunks of `CHUNK`.
        before: What this job returned for the leg before; none for a leg that starts fresh.

    Returns:
        With one row for the seed and A arms in each: layers ``w0``, ``w1``, ... (1, A, n_in + 1, n_out);
        ``train_loss`` on the first `LOOK` images at most and ``validation_loss``; ``train_error`` and
        ``validation_error`` in %, all (1, A); ``live0``, ... (1, A, n), which hidden units are on for any of
        those training images. With ``watched`` the sum of the `objective` over the leg's `looks_of`, and
        ``looks``, how many there were, both (1, A).

    Raises:
        ValueError: The configuration does not fit, or there is not one seed.
    """
    must(len(seeds) == CHUNK, "seeds", f"{CHUNK} at once", len(seeds))
    setting = Setting.of(config)
    inputs, targets = images.taught(0, setting.images, 255)
    parts = {
        "train": (inputs.part(slice(LOOK)), targets[:LOOK].argmax(axis=1)),
        "validation": images.judged((50_000, setting.validation), 255),
    }
    arms, [seed] = setting.arms, seeds
    if before is None:
        layers = fresh(seed, setting.hidden, arms)
    else:
        taken = list(setting.taken or range(arms))
        layers = tuple(tf.constant(before[f"w{k}"][0][taken]) for k in range(len(setting.hidden) + 1))
    done, first, seen = 0, setting.end - setting.updates, np.zeros(arms)
    for stop in sorted({*looks_of(setting), setting.end}):
        while first + done < stop:
            left = stop - first - done
            count = next(p for p in PIECES if p <= left) if setting.noises else min(train.LONG, left)
            chosen = batches(setting, seed, first + done, count)
            if setting.noises:
                if done % ANCHOR == 0:
                    pull = train.gradient(layers, inputs, targets, hidden="relu", loss=setting.loss)
                    anchors = layers, pull
                each = setting.rates, setting.decays, setting.noises
                layers = quiet.fit(layers, *anchors, inputs, targets, chosen, *each, setting.loss)
            else:
                # the engine sums over the batch; the setting's rate and decay belong to its mean
                rates = np.tile(np.array(setting.rates) / setting.batch, (count, 1))
                decay = np.array(setting.decays) * setting.batch
                how = {"hidden": "relu", "loss": setting.loss, "decay": decay, "compiled": True}
                layers = train.fit(layers, inputs, targets, chosen, rates, **how)
            done += count
        if stop in looks_of(setting):
            seen = seen + objective(layers, inputs, targets, setting)
    result = {f"w{k}": w.numpy()[None] for k, w in enumerate(layers)}
    if setting.watched:
        result |= {"objective": seen[None], "looks": np.full((1, arms), len(looks_of(setting)))}
    for name, (x, y) in parts.items():
        *hidden, z = nets.forward(layers, x, "relu")
        loss, error = losses(z, y, setting.loss)
        result |= {f"{name}_loss": loss[None], f"{name}_error": error[None]}
        if name == "train":
            result |= {f"live{k}": tf.reduce_any(h > 0, axis=1).numpy()[None] for k, h in enumerate(hidden)}
    return result
