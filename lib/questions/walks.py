"""Small convolutional networks trained on and on at a constant learning rate: the legs of their walks.

`job` for `lib.ensembles` trains networks under a `Setting`, a leg that begins where another one ended, as
`lib.questions.drift` does for networks of dense layers. A seed has the same start and the same batches
under all settings of the same order; two seeds share nothing.

The networks are those of `lib.convnets`. The loop is one of its own, compiled, since it decays weights and
cuts the patches of a batch when it comes: cut beforehand, those of all images would fill the memory.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lib import convnets, order
from lib.backend import tf
from lib.checks import must, number, whole, wholes
from lib.questions import images, settings

CHUNK = 3  # networks at once: they share calls, and the default's six occupy two cores
STEP = 100  # updates that a cost is averaged over; legs are multiples of it
PIECE = 1000  # updates in one call, at most
LOOK = 2000  # training images on which a snapshot is looked at, at most
APART = 2**31  # added to the number of an order: no walk of dense networks draws from the same stream


@dataclass(frozen=True)
class Setting(settings.Chain):
    """A leg of a walk. What is not explained here is as in `lib.questions.drift.Setting`.

    Attributes:
        channels: Of each block of 3x3 convolution, pooling and rectifier.
        dense: Units of each dense hidden layer.
        rate: Learning rate; it multiplies the gradient of the mean loss of a batch.
        decay: L2 coefficient: this times the weights joins the gradient of the mean loss. Biases decay as
            well: left alone, they grow slowly where all else stands still.
    """

    same: ClassVar[tuple[str, ...]] = ("channels", "dense")

    after: "Setting | None" = None
    updates: Annotated[int, whole(0, 10**9)] = 0
    channels: Annotated[tuple[int, ...], wholes(1, 1000, 1, 3)] = (4, 8)
    dense: Annotated[tuple[int, ...], wholes(1, 1000, 0, 5)] = (16,)
    rate: Annotated[float, number(1e-12, 1e12)] = 0.05
    decay: Annotated[float, number(0, 1e3)] = 0.0
    batch: Annotated[int, whole(1, 1000)] = 5
    images: Annotated[int, whole(1, 50_000)] = 10_000
    validation: Annotated[int, whole(1, 10_000)] = 2000
    order: Annotated[int, whole(0, 2**31 - 1)] = 0

    def check(self) -> None:
        """Checks what must fit on each other."""
        must(self.updates % STEP == 0, "updates", f"a multiple of {STEP}", self.updates)
        must(self.batch <= self.images, "batch", f"at most the {self.images} images", self.batch)

    @property
    def end(self) -> int:
        """Updates from the fresh networks to the end of this leg."""
        return self.updates + self.before("updates")

    @property
    def design(self) -> convnets.Design:
        """What the networks are built of."""
        return convnets.Design(self.channels, self.dense)


def batches(setting: Setting, seed: int, first: int, count: int) -> np.ndarray:
    """Image numbers of the updates from the first on: (count, B).

    They depend on the seed, the order and the images alone, not on where a leg begins.
    """
    stream = ("drift order", seed, APART + setting.order)
    return order.stretch(stream, setting.images, setting.batch, first, count)


def training(setting: Setting) -> convnets.Images:
    """The training images on which snapshots are looked at."""
    return _cut(0, min(setting.images, LOOK), len(setting.channels))


@functools.lru_cache(maxsize=4)
def _cut(first, count, blocks):
    x, y = images.judged((first, count), 255)
    return convnets.images(x.numpy(), y, convnets.Design((1,) * blocks, ()))


def job(config: Mapping, seeds: Sequence[int], before: Mapping | None = None) -> dict[str, np.ndarray]:
    """Train networks through a leg, and look at them at its end.

    Args:
        config: `Setting.config` of the leg.
        seeds: M seeds.
        before: What this job returned for the leg before; none for a leg that starts fresh.

    Returns:
        With M rows: layers ``w0``, ``w1``, ... (M, n_in + 1, n_out); ``cost`` (M, updates / STEP), what is
        minimised, in nats: the loss of a batch before its update, and half the decay times the squared
        weights, means of `STEP` updates; on the first `LOOK` training images at most ``train_loss``,
        ``train_error`` in % and ``live0``, ... (M, n), which channels and units any image switches on;
        ``validation_loss`` and ``validation_error``.

    Raises:
        ValueError: The configuration does not fit.
    """
    setting = Setting.of(config)
    design, members = setting.design, len(seeds)
    if before is None:
        layers = convnets.initial(seeds, design, "he")
    else:
        layers = tuple(tf.constant(before[f"w{k}"]) for k in range(len(design.shapes)))
    inputs, targets = images.taught(0, setting.images, 255)
    pixels = tf.reshape(inputs.x, (-1, convnets.SIDE, convnets.SIDE))
    labels = tf.constant(targets.argmax(axis=1), tf.int32)
    costs, first = [np.zeros((0, members))], setting.end - setting.updates
    for done in range(0, setting.updates, PIECE):
        count = min(PIECE, setting.updates - done)
        shown = np.stack([batches(setting, seed, first + done, count) for seed in seeds], axis=1)
        shown = np.pad(shown.astype(np.int32), ((0, PIECE - count), (0, 0), (0, 0)))
        # tensors, and all of one shape: one graph, compiled once, serves all legs and settings
        numbers = tf.constant(count), tf.constant(setting.rate), tf.constant(setting.decay)
        layers, cost = _loop(design)(layers, pixels, labels, tf.constant(shown), *numbers)
        costs.append(cost.numpy()[:count].reshape(-1, STEP, members).mean(axis=1, dtype=np.float64))
    result = {f"w{k}": w.numpy() for k, w in enumerate(layers)} | {"cost": np.concatenate(costs).T}
    unseen = _cut(50_000, setting.validation, len(setting.channels))
    for name, some in (("validation", unseen), ("train", training(setting))):
        look = convnets.look(layers, some, design)
        result |= {f"{name}_loss": look.loss, f"{name}_error": 100 - look.accuracy}
    return result | {f"live{k}": peak > 0 for k, peak in enumerate(look.peaks)}


def patches(x: tf.Tensor, design: convnets.Design) -> tf.Tensor:
    """Images (M, B, 28, 28) as `convnets.forward` takes each member's own: (M, B, tiles, 16)."""
    side, cuts = convnets.TILES[len(design.channels)][0], []
    for block, pixel in itertools.product(range(4), repeat=2):
        row, column = 2 * (block // 2) + pixel // 2, 2 * (block % 2) + pixel % 2
        cuts.append(x[:, :, row : row + 2 * side : 2, column : column + 2 * side : 2])
    return tf.reshape(tf.stack(cuts, axis=-1), (*x.shape[:2], side**2, 16))


@functools.cache
def _loop(design):
    @tf.function(autograph=False, jit_compile=True)
    def loop(layers, pixels, labels, shown, count, rate, decay):
        def body(i, layers, costs):
            x, y = patches(tf.gather(pixels, shown[i]), design), tf.gather(labels, shown[i])
            with tf.GradientTape() as tape:
                tape.watch(layers)
                loss = convnets.losses(convnets.forward(layers, x, design)[1], y)
            slopes = tape.gradient(loss, layers)
            squares = tf.add_n([tf.reduce_sum(w * w, axis=(1, 2)) for w in layers])
            costs = tf.tensor_scatter_nd_update(costs, [[i]], [loss + decay / 2 * squares])
            moves = zip(layers, slopes, strict=True)
            return i + 1, tuple(w - rate * (g + decay * w) for w, g in moves), costs

        start = (tf.constant(0), layers, tf.zeros((shown.shape[0], shown.shape[1])))
        return tf.while_loop(lambda i, *_: i < count, body, start, parallel_iterations=1)[1:]

    return loop
