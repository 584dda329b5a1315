"""Small convolutional networks that train, collapse or never start: settings, runs, kinds of outcome.

The job for `lib.ensembles` behind the chapter on plateaus: `job` trains networks under a `Setting`, which may
take up the networks that another one left, or lets them jump to many learning rates (`jump`). `outcome` says
by rule what became of a run.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lib import convnets, curvature, data, diagnose, order, streams
from lib.backend import tf
from lib.checks import choice, flag, number, optional, whole, wholes
from lib.questions import settings

CHUNK = 8  # seeds in a block, at once; measured: with more, their activations leave the cache
PIXELS = {  # mean and scale that are taken off bytes; the last ones are those of MNIST's training file
    "0 to 255": (0.0, 1.0),
    "0 to 1": (0.0, 255.0),
    "standardised": (0.1307 * 255, 0.3081 * 255),
}
CURVED = 500  # training images that curvature is measured on
PRODUCTS, TOLERANCE = 30, 0.01  # at most, and residual: an eigenvalue to about one percent


@dataclass(frozen=True)
class Setting(settings.Chain):
    """How networks are trained. The learning rate multiplies the gradient of the mean loss of a batch.

    Attributes:
        after: The setting that leaves the networks to take up; None starts with fresh ones.
        epochs: Passes over the training images; 0 only looks.
        channels: Of each block of 3x3 convolution, pooling and rectifier.
        dense: Units of each dense hidden layer.
        slope: Of the rectifier for negative inputs; 0 for ReLU.
        batch: Images in a batch; what is left at the end of an epoch is left out.
        pixels: Name in `PIXELS`: how the bytes are scaled.
        init: Name in `lib.convnets.INITS`.
        rate: Learning rate.
        warmup: Epochs in which the rate rises in equal steps, one for each update.
        momentum: Decay of the velocity; 0 for plain descent.
        clip: Largest norm of the gradient; None for no limit.
        sampling: 'shuffled' takes every image once in an epoch, 'drawn' draws batches with replacement.
        images: Training images, the first ones of MNIST.
        validation: Validation images, from the 50,000th on.
        sharp: Epochs after which the curvature is measured, from 0.
        window: First step and step after the last one of this setting at which everything is recorded.
        outputs: Whether the mean output is recorded at every step.
        keep: Whether the result holds the networks, for settings that follow or to look into them.
    """

    same: ClassVar[tuple[str, ...]] = ("channels", "dense")

    after: "Setting | None" = None
    epochs: Annotated[int, whole(0, 10**6)] = 20
    channels: Annotated[tuple[int, ...], wholes(1, 1000, 1, 3)] = (8, 16)
    dense: Annotated[tuple[int, ...], wholes(1, 1000, 0, 5)] = (64,)
    slope: Annotated[float, number(0, math.nextafter(1, 0))] = 0.0
    batch: Annotated[int, whole(1, 50_000)] = 32
    pixels: Annotated[str, choice(PIXELS)] = "0 to 1"
    init: Annotated[str, choice(convnets.INITS)] = "glorot"
    rate: Annotated[float, number(1e-12, 1e12)] = 0.1
    warmup: Annotated[int, whole(0, 10**6)] = 0
    momentum: Annotated[float, number(0, math.nextafter(1, 0))] = 0.0
    clip: Annotated[float | None, optional(number(1e-12, float(np.finfo(np.float32).max)))] = None
    sampling: Annotated[str, choice(order.SAMPLING)] = "shuffled"
    images: Annotated[int, whole(1, 50_000)] = 1000
    validation: Annotated[int, whole(1, 10_000)] = 500
    sharp: Annotated[tuple[int, ...], wholes(0, 10**6, rising=True)] = ()
    window: Annotated[tuple[int, int] | None, optional(wholes(0, 10**12, 2, 2, rising=True))] = None
    outputs: Annotated[bool, flag] = False
    keep: Annotated[bool, flag] = False

    def check(self) -> None:
        """Checks what must fit on each other."""
        if self.batch > self.images:
            raise ValueError(f"batch must be at most the {self.images} images, got {self.batch}")
        if self.init == "dead" and self.slope:
            raise ValueError(f"init 'dead' needs a slope of 0, got {self.slope!r}")
        if self.sharp and self.sharp[-1] > self.epochs:
            raise ValueError(f"sharp must be epochs from 0 to {self.epochs}, got {self.sharp!r}")
        if self.window and self.window[1] > self.steps:
            raise ValueError(f"window must lie in steps 0 to {self.steps}, got {self.window!r}")

    @property
    def design(self) -> convnets.Design:
        """What the networks are built of."""
        return convnets.Design(self.channels, self.dense, self.slope)

    @property
    def steps(self) -> int:
        """Updates in all epochs of this setting."""
        return self.epochs * (self.images // self.batch)


# --- data ---


def training(pixels: str, images: int, blocks: int) -> convnets.Images:
    """The training images, scaled and cut for networks of this number of blocks."""
    return _cut(0, images, pixels, blocks)


def validation(pixels: str, images: int, blocks: int) -> convnets.Images:
    """The validation images, scaled and cut likewise."""
    return _cut(50_000, images, pixels, blocks)


@functools.lru_cache(maxsize=16)
def _cut(first, count, pixels, blocks):
    mean, scale = (np.float32(v) for v in PIXELS[pixels])
    x, y = data.subset(data.load(), first, count)
    return convnets.images((x.astype(np.float32) - mean) / scale, y, convnets.Design((1,) * blocks, ()))


def entropy(labels: np.ndarray) -> float:
    """Entropy of the distribution of labels in nats: the loss of the best output that ignores the image.

    Args:
        labels: Whole numbers from 0 (N,).
    """
    share = np.bincount(labels) / len(labels)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def batches(block: int, epoch: int, setting: Setting) -> np.ndarray:
    """Batches of an epoch, shared by the networks of a block: (T, B).

    Args:
        block: Number of the block, the seed by `CHUNK`.
        epoch: Number of the epoch from 0, counted through all settings of a chain.
        setting: What tells the images, the batch and the sampling.
    """
    return _batches(("plateau order", block, epoch), setting)


def _batches(stream, setting):
    return order.batches(order.epoch(stream, setting.images, setting.sampling), setting.batch)


# --- training ---


def job(
    config: Mapping, seeds: Sequence[int], before: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Train networks under a setting.

    Args:
        config: From `Setting.config`, or what `jump` takes.
        seeds: M seeds of one block of `CHUNK`, which share their batches.
        before: What the setting before returned for the same seeds.

    Returns:
        Arrays with M rows; E epochs, T steps, L layers, the last of them the output; losses in nats.
        ``step_loss`` (M, T): of each batch, before its update. ``train`` (M, E): its mean in each epoch, as
        a progress bar shows it. On the validation images, before the first epoch and after each:
        ``validation`` (M, E + 1), ``accuracy`` (M, E + 1) in %, ``dead`` (M, E + 1, L - 1), the share of
        units in each hidden layer that no image switches on. At the end, on the training images: ``loss``
        and ``hit`` (M,), the accuracy in %; ``gradient`` (M, L), its norm; ``nonzero`` (M, L), the share of
        its entries that are not zero to the bit; ``silent`` (M, L - 1), the share of dead units;
        ``predicted`` (M, 10), the share of images put into each class; ``finite`` (M,), whether all weights
        and the loss are. With ``sharp``: ``sharpness`` and ``residual`` (M, S), the largest eigenvalue of
        the Hessian and its uncertainty, ``batch_sharpness`` (M, S). With ``outputs``: ``output`` (M, T,
        10). With ``window``, for each of its steps before the update: ``window_gradient`` (M, W, L),
        ``window_dead`` (M, W, L - 1) and ``window_loss`` (M, W) on the training images, ``window_layers``
        (M, W, P). With ``keep``: ``layer0`` and so on, ``velocity0`` and so on.

    Raises:
        ValueError: The configuration does not fit, or the seeds are of more than one block.
    """
    if "factors" in config:
        return jump(config, seeds, before)
    setting, block = Setting.of(config), order.block(seeds, CHUNK)
    design = setting.design
    blocks, per_epoch = len(design.channels), setting.images // setting.batch
    images = training(setting.pixels, setting.images, blocks)
    unseen = validation(setting.pixels, setting.validation, blocks)
    first = setting.before("epochs")
    velocity, locked = None, False  # locked: the last hidden layer of all members is dead
    if before is None:
        layers = convnets.initial(seeds, design, setting.init)
    else:
        count = len(design.shapes)
        layers = tuple(tf.constant(before[f"layer{k}"]) for k in range(count))
        if setting.momentum:
            velocity = tuple(tf.constant(before[f"velocity{k}"]) for k in range(count))
    looks, records, slopes, sharp, window = [], [], [], [], []
    for epoch in range(setting.epochs + 1):
        looks.append(convnets.look(layers, unseen, design))
        if epoch in setting.sharp:
            sharp.append(curvatures(layers, setting, seeds))
        if epoch == setting.epochs:
            break
        shown = batches(block, first + epoch, setting)
        step = epoch * per_epoch + np.arange(per_epoch)
        rates = setting.rate * np.minimum(1, (step + 1) / (setting.warmup * per_epoch or 1))
        start, stop = setting.window or (0, 0)
        simple = design.dense and not (design.slope or setting.momentum or setting.clip or setting.window)
        if simple and not locked and looks[-1].dead[:, -1].min() == 1:
            locked = convnets.look(layers, images, design).dead[:, -1].min() == 1
        for part in _runs((start <= step) & (step < stop)):
            if setting.window and start <= step[part][0] < stop:
                seen = convnets.look(layers, images, design)
                flat = curvature.flat(layers).numpy()
                window.append((seen.dead, seen.loss, flat))
            if locked:
                layers, record = _biases_only(layers, setting, shown[part], rates[part])
            else:
                layers, velocity, record = convnets.fit(
                    layers,
                    images,
                    shown[part],
                    rates[part],
                    design=design,
                    momentum=setting.momentum,
                    clip=setting.clip,
                    velocity=velocity,
                    gradients=bool(start <= step[part][0] < stop),
                )
            records.append((record.loss, record.output))
            if record.gradient.shape[2]:
                slopes.append(record.gradient)
    end, slope = convnets.look(layers, images, design), convnets.gradient(layers, images, design)
    members = len(seeds)
    loss, output = (
        (np.concatenate(parts, axis=1) for parts in zip(*records, strict=True))
        if records
        else (np.zeros((members, 0)), np.zeros((members, 0, data.CLASSES)))
    )
    result = {
        "step_loss": loss,
        "train": loss.reshape(members, setting.epochs, per_epoch).mean(axis=2, dtype=np.float64),
        "validation": np.stack([one.loss for one in looks], axis=1),
        "accuracy": np.stack([one.accuracy for one in looks], axis=1),
        "dead": np.stack([one.dead for one in looks], axis=1),
        "loss": end.loss,
        "hit": end.accuracy,
        "silent": end.dead,
        "predicted": end.predicted,
        "gradient": np.stack([np.sqrt((g * g).sum(axis=(1, 2))) for g in slope], axis=1),
        "nonzero": np.stack([(g != 0).mean(axis=(1, 2)) for g in slope], axis=1),
        "finite": diagnose.finite(layers) & np.isfinite(end.loss),
    }
    if sharp:
        for k, name in enumerate(("sharpness", "residual", "batch_sharpness")):
            result[name] = np.stack([one[k] for one in sharp], axis=1)
    if setting.outputs:
        result["output"] = output
    if window:
        start, stop = setting.window
        result["window_gradient"] = np.concatenate(slopes, axis=1)
        for k, name in enumerate(("window_dead", "window_loss", "window_layers")):
            result[name] = np.stack([one[k] for one in window], axis=1)
    if setting.keep:
        velocity = velocity or [tf.zeros_like(w) for w in layers]
        for k, (w, v) in enumerate(zip(layers, velocity, strict=True)):
            result |= {f"layer{k}": w.numpy(), f"velocity{k}": v.numpy()}
    return result


STUB = convnets.Design((1,), (1,))


def _biases_only(
    layers: Sequence[tf.Tensor], setting: Setting, shown: np.ndarray, rates: np.ndarray
) -> tuple[tuple[tf.Tensor, ...], convnets.Record]:
    """Train networks whose last hidden layer is dead for every training image: only the output's biases move.

    The smallest dead network with the same biases has the same outputs and the same gradients, to the bit,
    and takes a small part of the time.
    """
    images = training(setting.pixels, setting.images, 1)
    first, *_, last = layers
    zeros = [tf.zeros((first.shape[0], rows, columns)) for rows, columns in STUB.shapes]
    off = tf.concat([zeros[0][:, :-1], tf.fill((first.shape[0], 1, 1), convnets.OFF)], axis=1)
    output = tf.concat([zeros[2][:, :-1], last[:, -1:]], axis=1)
    stub, _, record = convnets.fit((off, zeros[1], output), images, shown, rates, design=STUB)
    return (*layers[:-1], tf.concat([last[:, :-1], stub[-1][:, -1:]], axis=1)), record


def _runs(single: np.ndarray) -> list[slice]:
    """Cut steps into parts to train in one go: each marked step alone, the others as long as they last."""
    ends = [0, *(k for k in range(1, len(single)) if single[k] or single[k - 1]), len(single)]
    return [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]


# --- curvature ---


@functools.cache
def _products(design):
    def loss(layers, patches, labels):
        return convnets.losses(convnets.forward(layers, patches, design)[1], labels)

    return curvature.products(loss)


def hessian(layers: Sequence[tf.Tensor], images: convnets.Images, design: convnets.Design):
    """The Hessian of the mean loss over images as a product, for `lib.curvature.top_eigenvalue`."""

    def product(rows: np.ndarray) -> np.ndarray:
        vectors, total = curvature.unflat(rows, layers), 0.0
        for i in range(0, len(images), convnets.PIECE):
            piece = images.part(slice(i, i + convnets.PIECE))
            _, along = _products(design)(layers, vectors, *piece)
            with np.errstate(invalid="ignore"):  # what overflows is told as NaN
                total = total + curvature.flat(along).numpy().astype(np.float64) * len(piece)
        return total / len(images)

    return product


def curvatures(
    layers: Sequence[tf.Tensor], setting: Setting, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sharpness, its uncertainty, and batch sharpness, of each member: three arrays (M,).

    Sharpness is the largest eigenvalue of the Hessian of the mean loss, over the first 500 training images.
    Batch sharpness is the mean over the first batches of them, 32 at most, of g'Hg / |g|^2, with the gradient
    and the Hessian of one batch; a batch without a gradient does not count.

    Source: for the second, Andreyev and Beneventano 2024, arXiv 2412.20553.
    """
    design = setting.design
    images = training(setting.pixels, setting.images, len(design.channels))
    rows = curvature.flat(layers).shape[1]
    start = np.stack([streams.generator("sharpness", s).normal(size=rows) for s in seeds])
    some = images.part(slice(CURVED))
    top = curvature.top_eigenvalue(hessian(layers, some, design), start, PRODUCTS, TOLERANCE)
    ratios = []
    size = min(setting.batch, CURVED)
    for i in range(0, min(len(some) // size, 32) * size, size):
        piece = some.part(slice(i, i + size))
        zero = [tf.zeros_like(w) for w in layers]
        gradient, _ = _products(design)(layers, zero, *piece)
        _, along = _products(design)(layers, gradient, *piece)
        g, along = (curvature.flat(v).numpy().astype(np.float64) for v in (gradient, along))
        square = (g * g).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(np.where(square > 0, (g * along).sum(axis=1) / square, np.nan))
    ratios = np.ma.masked_invalid(ratios)
    return top.value, top.residual, np.ma.filled(ratios.mean(axis=0), np.nan)


# --- a jump of the rate ---


def jump(config: Mapping, seeds: Sequence[int], before: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Go on from networks at many learning rates, then at their own rate again.

    Args:
        config: ``after``, from `Setting.config`: how the networks were trained, and will be after the jump;
            ``order``: number of the order of the images, the same for all networks; ``factors`` (F): what
            their rate is multiplied by; ``jump`` and ``back``: epochs at the higher rate, and then at their
            own.
        seeds: M seeds.
        before: What the setting returned for them; they go on at rest.

    Returns:
        Arrays with M rows: ``train`` (M, F, jump + back), mean batch loss of each epoch; ``peak`` (M, F), the
        largest batch loss in the jump; ``loss`` and ``hit`` (M, F), at the end over the training images;
        ``silent`` (M, F, L - 1); ``finite`` (M, F).
    """
    setting, factors = Setting.of(config["after"]), np.asarray(config["factors"], np.float32)
    design = setting.design
    images = training(setting.pixels, setting.images, len(design.channels))
    rows = []
    for member in range(len(seeds)):
        origin = (before[f"layer{k}"][member : member + 1] for k in range(len(design.shapes)))
        layers, velocity = tuple(tf.repeat(w, len(factors), axis=0) for w in origin), None
        train, peak = [], np.full(len(factors), -np.inf)
        for epoch in range(config["jump"] + config["back"]):
            shown = _batches(("jump order", config["order"], epoch), setting)
            rate = setting.rate * (factors if epoch < config["jump"] else np.ones_like(factors))
            layers, velocity, record = convnets.fit(
                layers,
                images,
                shown,
                np.repeat(rate[None], len(shown), axis=0),
                design=design,
                momentum=setting.momentum,
                clip=setting.clip,
                velocity=velocity,
            )
            train.append(record.loss.mean(axis=1, dtype=np.float64))
            if epoch < config["jump"]:
                peak = np.maximum(peak, record.loss.max(axis=1))  # NaN stays
        end = convnets.look(layers, images, design)
        ends = (end.loss, end.accuracy, end.dead, diagnose.finite(layers) & np.isfinite(end.loss))
        rows.append((np.stack(train, axis=1), peak, *ends))
    names = ("train", "peak", "loss", "hit", "silent", "finite")
    return {name: np.stack(parts) for name, parts in zip(names, zip(*rows, strict=True), strict=True)}


# --- outcomes ---

LEARNED, FLAT = 0.5, 0.95  # of the labels' entropy: a loss below the one, or above the other
LAST, LATE = 3, 3  # epochs at the end that decide; epochs on the plateau that make a start late
OUTCOMES = {
    "trained": "learned in the last epochs",
    "late bloomer": "trained, but flat in all of the first epochs",
    "unfinished": "lowest at the end, and not learned before the last epochs",
    "oscillating": "neither learned nor flat in the last epochs",
    "never started": "flat in the last epochs or dead, and never learned",
    "trained, then collapsed": "flat in the last epochs or dead, and once learned",
    "diverged": "a weight or the loss is not finite",
}


def outcome(train: np.ndarray, dead: np.ndarray, finite: np.ndarray, entropy: float) -> np.ndarray:
    """What became of each run, by rule.

    An epoch is *learned* if its mean training loss is below `LEARNED` times the entropy of the labels, *flat*
    if it is not below `FLAT` times the entropy. The last `LAST` epochs decide, and the first `LATE` whether
    a start was late. A network is *dead* if no training image switches on any unit of one of its layers.

    Args:
        train: Mean training loss in each epoch (M, E), in nats.
        dead: Share of dead units in each hidden layer at the end (M, L - 1).
        finite: Whether all weights and the loss are, at the end (M,).
        entropy: Of the training labels in nats.

    Returns:
        Names in `OUTCOMES` (M,).

    Raises:
        ValueError: Not more than `LATE` epochs, shapes that do not fit, or an entropy that is not positive.
    """
    train, dead, finite = np.asarray(train, float), np.asarray(dead, float), np.asarray(finite, bool)
    few = train.ndim != 2 or train.shape[1] <= max(LAST, LATE)
    if few or finite.shape != train.shape[:1] or dead.ndim != 2 or len(dead) != len(train):
        raise ValueError(
            f"train must be (M, E) with more than {max(LAST, LATE)} epochs, dead (M, L) and finite (M,); "
            f"got {train.shape}, {dead.shape} and {finite.shape}"
        )
    if not 0 < entropy < np.inf:
        raise ValueError(f"entropy must be above 0 and finite, got {entropy}")
    learned, flat = train < LEARNED * entropy, ~(train < FLAT * entropy)
    ever = learned.any(axis=1)
    gone = flat[:, -LAST:].all(axis=1) | (dead == 1).any(axis=1)
    well = learned[:, -LAST:].all(axis=1)
    kinds = [
        (~finite, "diverged"),
        (gone & ever, "trained, then collapsed"),
        (gone, "never started"),
        (well & flat[:, :LATE].all(axis=1), "late bloomer"),
        (well, "trained"),
        (~learned[:, :-LAST].any(axis=1) & (train[:, -1] <= train.min(axis=1)), "unfinished"),
    ]
    return np.select([which for which, _ in kinds], [name for _, name in kinds], "oscillating")
