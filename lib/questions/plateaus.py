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
from scipy.optimize import isotonic_regression
from scipy.special import logsumexp, softmax

from lib import convnets, curvature, data, diagnose, imagesets, order, streams
from lib.backend import tf
from lib.checks import choice, flag, must, number, optional, whole, wholes
from lib.questions import settings

CHUNK = 8  # networks at once: few, so that all cores have some
PIXELS = {  # mean and scale that are taken off bytes; the last ones are those of MNIST's training file
    "0 to 255": (0.0, 1.0),
    "0 to 1": (0.0, 255.0),
    "standardised": (0.1307 * 255, 0.3081 * 255),
}
SOURCES = {"mnist": 50_000} | imagesets.TRAINING  # sets of images, with how many are to train on
_SPARE = {"mnist": 10_000} | {name: imagesets.SIZE[name] - n for name, n in imagesets.TRAINING.items()}
CURVED = 500  # training images that curvature is measured on
EACH = 10**6  # numbers of epochs that each order of images after a jump has
MET = 100  # batches at most that batch sharpness is measured on
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
        source: Name in `SOURCES`: the set of images.
        images: Training images, the first ones.
        validation: Validation images, those after the last one that is to train on.
        sharp: Epochs after which the sharpness is measured, from 0.
        steep: Epochs after which the batch sharpness is measured, from 0.
        lengths: Whether the length of the steps is recorded.
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
    source: Annotated[str, choice(SOURCES)] = "mnist"
    images: Annotated[int, whole(1, 50_000)] = 1000
    validation: Annotated[int, whole(1, 10_000)] = 500
    sharp: Annotated[tuple[int, ...], wholes(0, 10**6, rising=True)] = ()
    steep: Annotated[tuple[int, ...], wholes(0, 10**6, rising=True)] = ()
    lengths: Annotated[bool, flag] = False
    window: Annotated[tuple[int, int] | None, optional(wholes(0, 10**12, 2, 2, rising=True))] = None
    outputs: Annotated[bool, flag] = False
    keep: Annotated[bool, flag] = False

    def check(self) -> None:
        """Checks what must fit on each other."""
        must(self.batch <= self.images, "batch", f"at most the {self.images} images", self.batch)
        if self.init == "dead" and self.slope:
            raise ValueError(f"init 'dead' needs a slope of 0, got {self.slope!r}")
        for name, looks in (("sharp", self.sharp), ("steep", self.steep)):
            must(not looks or looks[-1] <= self.epochs, name, f"epochs from 0 to {self.epochs}", looks)
        must(not (self.lengths and self.momentum), "lengths", "False with momentum", self.lengths)
        for name, most in (("images", SOURCES[self.source]), ("validation", _SPARE[self.source])):
            must(getattr(self, name) <= most, name, f"at most {most} of {self.source}", getattr(self, name))
        if self.window and self.window[1] > self.steps:
            raise ValueError(f"window must lie in steps 0 to {self.steps}, got {self.window!r}")

    def config(self) -> dict:
        """As plain data, with the hash of images that are not MNIST's."""
        own = {} if self.source == "mnist" else {"content": imagesets.content(self.source)}
        return super().config() | own

    @property
    def design(self) -> convnets.Design:
        """What the networks are built of."""
        return convnets.Design(self.channels, self.dense, self.slope)

    @property
    def steps(self) -> int:
        """Updates in all epochs of this setting."""
        return self.epochs * (self.images // self.batch)


# --- data ---


def training(setting: Setting) -> convnets.Images:
    """The training images, scaled and cut for its networks."""
    return _cut(setting.source, setting.pixels, 0, setting.images, len(setting.channels))


def validation(setting: Setting) -> convnets.Images:
    """The validation images, scaled and cut likewise."""
    start = SOURCES[setting.source]
    return _cut(setting.source, setting.pixels, start, setting.validation, len(setting.channels))


@functools.lru_cache(maxsize=16)
def _cut(source, pixels, first, count, blocks):
    mean, scale = (np.float32(v) for v in PIXELS[pixels])
    if source == "mnist":
        x, y = data.subset(data.load(), first, count)
    else:
        x, y = imagesets.load(source)
        if pixels == "standardised":
            some = x[: imagesets.TRAINING[source]]
            mean, scale = np.float32(some.mean()), np.float32(some.std())
        x, y = x[first : first + count], y[first : first + count]
    return convnets.images((x.astype(np.float32) - mean) / scale, y, convnets.Design((1,) * blocks, ()))


def entropy(labels: np.ndarray) -> float:
    """Entropy in nats of labels (N,), numbers from 0: the loss of the best output that ignores the image."""
    share = np.bincount(labels) / len(labels)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def batches(seed: int, epoch: int, setting: Setting) -> np.ndarray:
    """Batches of an epoch of one network: (T, B). Epochs count from 0, through all settings of a chain."""
    return _batches(("plateau order", seed, epoch), setting)


def _batches(stream, setting):
    return order.batches(order.epoch(stream, setting.images, setting.sampling), setting.batch)


# --- training ---


def job(config: Mapping, seeds: Sequence[int], before: Mapping | None = None) -> dict[str, np.ndarray]:
    """Train networks under a setting.

    Args:
        config: From `Setting.config`, or what `jump` takes.
        seeds: M seeds; each network has its own order of the images.
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
        the Hessian and its uncertainty. With ``steep``: ``batch_sharpness`` (M, S). With ``lengths``:
        ``length`` (M, E), the mean length of a step. With ``outputs``: ``output`` (M, T, 10). With
        ``window``, for each of its steps before the update: ``window_gradient`` (M, W, L),
        ``window_dead`` (M, W, L - 1) and ``window_loss`` (M, W) on the training images, ``window_layers``
        (M, W, P). With ``keep``: ``layer0`` and so on, ``velocity0`` and so on.

    Raises:
        ValueError: The configuration does not fit.
    """
    if "factors" in config:
        return jump(config, seeds, before)
    setting = Setting.of(config)
    design, per_epoch = setting.design, setting.images // setting.batch
    images, unseen = training(setting), validation(setting)
    first = setting.before("epochs")
    velocity, locked = None, False  # locked: the last hidden layer of all members is dead
    if before is None:
        layers = convnets.initial(seeds, design, setting.init)
    else:
        layers = _held(before, "layer", design)
        if setting.momentum:
            velocity = _held(before, "velocity", design)
    options = {"design": design, "momentum": setting.momentum, "clip": setting.clip}
    start, stop = setting.window or (0, 0)
    simple = design.dense and not (
        design.slope or setting.momentum or setting.clip or setting.window or setting.lengths
    )
    records = [[np.zeros((len(seeds), 0, *more), np.float32) for more in ((), (data.CLASSES,))]]
    looks, sharp, steep, lengths, window = [], [], [], [], []
    for epoch in range(setting.epochs + 1):
        looks.append(convnets.look(layers, unseen, design))
        if epoch in setting.sharp:
            sharp.append(sharpness(layers, setting, seeds))
        if epoch in setting.steep:
            steep.append(batch_sharpness(layers, setting))
        if epoch == setting.epochs:
            break
        shown = np.stack([batches(seed, first + epoch, setting) for seed in seeds], axis=1)
        step = epoch * per_epoch + np.arange(per_epoch)
        rates = setting.rate * np.minimum(1, (step + 1) / (setting.warmup * per_epoch or 1))
        if simple and not locked and looks[-1].dead[:, -1].min() == 1:
            locked = convnets.look(layers, images, design).dead[:, -1].min() == 1
        marked = (start <= step) & (step < stop)
        for part in _runs(marked):
            alone = marked[part.start]
            if alone:
                seen, flat = convnets.look(layers, images, design), curvature.flat(layers).numpy()
            if locked:
                layers, record = _biases_only(layers, setting, shown[part], rates[part])
            else:
                options |= {"velocity": velocity, "gradients": bool(setting.lengths or alone)}
                layers, velocity, record = convnets.fit(layers, images, shown[part], rates[part], **options)
            records.append((record.loss, record.output))
            if alone:
                window.append((record.gradient[:, 0], seen.dead, seen.loss, flat))
            if setting.lengths:
                lengths.append(rates[part] * _norms(record.gradient, setting.clip))
    end, slope = convnets.look(layers, images, design), convnets.gradient(layers, images, design)
    members = len(seeds)
    loss, output = (np.concatenate(parts, axis=1) for parts in zip(*records, strict=True))
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
        for k, name in enumerate(("sharpness", "residual")):
            result[name] = np.stack([one[k] for one in sharp], axis=1)
    if steep:
        result["batch_sharpness"] = np.stack(steep, axis=1)
    if setting.lengths:
        steps = np.concatenate([np.zeros((members, 0)), *lengths], axis=1)
        result["length"] = steps.reshape(members, setting.epochs, per_epoch).mean(axis=2)
    if setting.outputs:
        result["output"] = output
    if window:
        for k, name in enumerate(("gradient", "dead", "loss", "layers")):
            result[f"window_{name}"] = np.stack([one[k] for one in window], axis=1)
    if setting.keep:
        velocity = velocity or [tf.zeros_like(w) for w in layers]
        for k, (w, v) in enumerate(zip(layers, velocity, strict=True)):
            result |= {f"layer{k}": w.numpy(), f"velocity{k}": v.numpy()}
    return result


def _held(before: Mapping[str, np.ndarray], what: str, design: convnets.Design) -> tuple[tf.Tensor, ...]:
    return tuple(tf.constant(before[f"{what}{k}"]) for k in range(len(design.shapes)))


def _norms(gradient, clip):
    """Norm of the whole gradient at each step, after clipping (M, T), from those of its layers (M, T, L)."""
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=2))
    return whole if clip is None else np.minimum(whole, clip)


def _biases_only(
    layers: Sequence[tf.Tensor], setting: Setting, shown: np.ndarray, rates: np.ndarray
) -> tuple[tuple[tf.Tensor, ...], convnets.Record]:
    """Train networks whose last hidden layer is dead for every training image: only the output's biases move.

    They are the output whatever the image. The whole network gives the same to the bit, and takes longer.
    """
    weights, bias = tf.split(layers[-1], [layers[-1].shape[1] - 1, 1], axis=1)
    given = tf.constant(shown, tf.int32), tf.constant(rates, tf.float32)
    bias, seen = _biases_loop(bias, training(setting).labels, *given)
    loss, output = np.split(np.moveaxis(seen.numpy(), 1, 0), [1], axis=2)
    record = convnets.Record(loss[..., 0], np.zeros((*loss.shape[:2], 0), np.float32), output)
    return (*layers[:-1], tf.concat([weights, bias], axis=1)), record


@tf.function(autograph=False)
def _biases_loop(bias, labels, shown, rates):
    def step(i, bias):
        with tf.GradientTape() as tape:
            tape.watch(bias)
            z = tf.zeros((*shown.shape[1:], data.CLASSES)) + bias
            loss = convnets.losses(z, tf.gather(labels, shown[i]))
            scaled = rates[i] * loss
        seen = tf.concat([loss[:, None], tf.reduce_mean(z, axis=1)], axis=1)
        return bias - tape.gradient(scaled, bias), seen

    return convnets.recorded(step, tf.shape(shown)[0], bias)


def _runs(single: np.ndarray) -> list[slice]:
    """Cut steps into parts to train in one go: each marked step alone, the others as long as they last."""
    ends = [0, *(k for k in range(1, len(single)) if single[k] or single[k - 1]), len(single)]
    return [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]


# --- curvature ---


@functools.cache
def _products(design):
    return curvature.products(functools.partial(convnets.loss, design=design))


def sharpness(
    layers: Sequence[tf.Tensor], setting: Setting, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Sharpness of each member and its uncertainty: two arrays (M,).

    It is the largest eigenvalue of the Hessian of the mean loss, over the first 500 training images.
    """
    some, size = training(setting).part(slice(CURVED)), curvature.flat(layers).shape[1]

    def product(rows: np.ndarray) -> np.ndarray:
        vectors, total = curvature.unflat(rows, layers), 0.0
        for i in range(0, len(some), convnets.PIECE):
            piece = some.part(slice(i, i + convnets.PIECE))
            _, along = _products(setting.design)(layers, vectors, *piece)
            with np.errstate(invalid="ignore"):  # what overflows is told as NaN
                total = total + curvature.flat(along).numpy().astype(np.float64) * len(piece)
        return total / len(some)

    start = np.stack([streams.generator("sharpness", s).normal(size=size) for s in seeds])
    top = curvature.top_eigenvalue(product, start, PRODUCTS, TOLERANCE)
    return top.value, top.residual


def batch_sharpness(layers: Sequence[tf.Tensor], setting: Setting) -> np.ndarray:
    """Batch sharpness of each member (M,).

    It is the mean over the first batches of the first 500 training images, 100 at most, of g'Hg / |g|^2, with
    the gradient and the Hessian of one batch; a batch without a gradient does not count.

    Source: Andreyev and Beneventano 2024, arXiv 2412.20553.
    """
    some = training(setting).part(slice(CURVED))

    def met(part: slice) -> tuple[np.ndarray, np.ndarray]:
        found = _products(setting.design)(layers, None, *some.part(part))
        g, along = (curvature.flat(v).numpy().astype(np.float64) for v in found)
        return (g * along).sum(axis=1), (g * g).sum(axis=1)

    return curvature.batch_sharpness(met, len(some), setting.batch, MET)


def jump(config: Mapping, seeds: Sequence[int], before: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Go on from networks at many learning rates, then at their own rate again.

    A run that then looks lost but need not be, flat with all weights finite and no layer dead, is watched for
    some epochs more, at its own rate.

    Args:
        config: ``after``, from `Setting.config`: how the networks were trained, and will be after the jump;
            ``order``: number of the order of the images, each network's own; ``factors`` (F): what their rate
            is multiplied by; ``jump``, ``back`` and ``watch``: epochs at the higher rate, then at their own,
            and more of these for the runs that are watched.
        seeds: M seeds.
        before: What the setting returned for them; they go on at rest.

    Returns:
        Arrays with M rows: ``peak`` (M, F), the largest batch loss in the jump; ``loss`` (M, F), after
        ``back`` over the training images, and ``last``, the same after the watch; ``watched``, ``dead`` and
        ``finite`` (M, F), whether a run was watched, and whether it then has a dead layer and finite weights.
    """
    setting, factors = Setting.of(config["after"]), np.asarray(config["factors"], np.float32)
    design, images, own = setting.design, training(setting), np.float32(setting.rate)
    layers = tuple(tf.repeat(w, len(factors), axis=0) for w in _held(before, "layer", design))
    who, higher = np.repeat(seeds, len(factors)), own * np.tile(factors, len(seeds))

    def go(layers, velocity, members, epoch, rates):
        orders = {s: _batches(("jump order", s, EACH * config["order"] + epoch), setting) for s in seeds}
        shown = np.stack([orders[s] for s in who[members]], axis=1)
        rates = np.repeat(rates[None], len(shown), axis=0)
        options = {"design": design, "momentum": setting.momentum, "clip": setting.clip}
        return convnets.fit(layers, images, shown, rates, velocity=velocity, **options)

    def state(layers):
        end = convnets.look(layers, images, design)
        return end.loss, (end.dead == 1).any(axis=1), diagnose.finite(layers) & np.isfinite(end.loss)

    every, velocity, peak = np.arange(len(who)), None, np.full(len(who), -np.inf)
    for epoch in range(config["jump"] + config["back"]):
        rates = higher if epoch < config["jump"] else np.full_like(higher, own)
        layers, velocity, record = go(layers, velocity, every, epoch, rates)
        if epoch < config["jump"]:
            peak = np.maximum(peak, record.loss.max(axis=1))  # NaN stays
    loss, dead, finite = state(layers)
    last, level = loss.copy(), FLAT * entropy(images.labels.numpy())
    watched = ~(loss < level) & finite & ~dead
    for start in range(0, watched.sum(), CHUNK):  # in groups of one size, which share a graph
        members = np.resize(np.flatnonzero(watched)[start : start + CHUNK], CHUNK)
        few, moving = (tuple(tf.gather(w, members) for w in held) for held in (layers, velocity))
        for epoch in range(config["watch"]):
            epoch += config["jump"] + config["back"]
            few, moving, _ = go(few, moving, members, epoch, np.full(CHUNK, own))
        last[members], dead[members], finite[members] = state(few)
    found = {"peak": peak, "loss": loss, "last": last, "watched": watched, "dead": dead, "finite": finite}
    return {name: values.reshape(len(seeds), len(factors)) for name, values in found.items()}


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
    """What became of each run, by rule: names in `OUTCOMES` (M,).

    An epoch is *learned* if its mean training loss is below `LEARNED` times the entropy of the labels, *flat*
    if it is not below `FLAT` times the entropy. The last `LAST` epochs decide, and the first `LATE` whether
    a start was late. A network is *dead* if no training image switches on any unit of one of its layers.

    Args:
        train: Mean training loss in each epoch (M, E), in nats.
        dead: Share of dead units in each hidden layer at the end (M, L - 1).
        finite: Whether all weights and the loss are, at the end (M,).
        entropy: Of the training labels in nats.

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
    must(0 < entropy < np.inf, "entropy", "above 0 and finite", entropy)
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


# --- what else runs show ---

OVERFITTED, APART, SWING = 0.1, 0.2, 0.5  # nats: the training loss, the validation loss above it, a swing
SPAN, SWUNG = 50, 10  # batches that a loss is averaged over; last epochs that a swing is looked for in


def overfitted(train: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """Epochs in which a network has learned its images and not others: from losses, of one shape."""
    return (train < OVERFITTED) & (validation >= train + APART)


def jumping(validation: np.ndarray, dead: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Which runs end alive and have swung (M,), from the validation losses (M, E) and as in `outcome`."""
    late = np.nan_to_num(np.asarray(validation, float)[:, -SWUNG:], nan=0, posinf=0)
    return finite & ~(dead == 1).any(axis=1) & (np.ptp(late, axis=1) >= SWING)


def turned(losses: np.ndarray, entropy: float) -> int:
    """Update after which no mean loss of `SPAN` batches in a row is one that has learned, from all losses."""
    losses = np.nan_to_num(np.asarray(losses, float), nan=np.inf)
    span = min(SPAN, len(losses))
    well = np.flatnonzero(np.convolve(losses, np.ones(span) / span, "valid") < LEARNED * entropy)
    return min(int(well[-1]) + span, len(losses) - 1) if len(well) else len(losses) // 2


def died(output: np.ndarray, wanted: np.ndarray, rate: float) -> int:
    """Update from which on each mean output (T, 10) is the last one and a step of the output's biases.

    Args:
        output: Of each batch, before its update.
        wanted: Shares of the classes in each batch.
        rate: Learning rate.
    """
    b = output.astype(float)
    with np.errstate(invalid="ignore", over="ignore"):
        step = rate * (softmax(b, axis=1) - wanted)
        own = np.abs(b[:-1] - step[:-1] - b[1:]).max(axis=1) < 1e-4
    return int(np.flatnonzero(~own)[-1]) + 1 if not own.all() else 0


def threshold(ruler: np.ndarray, lost: np.ndarray) -> float:
    """Where half of the runs are lost, on a rising fit, or an end of the ruler.

    Args:
        ruler: Sizes of the jumps, rising (F,).
        lost: Whether each run is, for some orders of the images (orders, F).
    """
    ruler = np.maximum(np.nan_to_num(ruler), 1e-12)
    fit = isotonic_regression(lost.mean(axis=0)).x
    k = int(np.searchsorted(fit, 0.5))
    if k in (0, len(fit)):
        return float(ruler[min(k, len(fit) - 1)])
    part_way = (0.5 - fit[k - 1]) / (fit[k] - fit[k - 1])
    return float(np.exp(np.interp(part_way, [0, 1], np.log(ruler[k - 1 : k + 1]))))


def in_band(rulers: Sequence[np.ndarray], lost: Sequence[np.ndarray], low: float, high: float) -> np.ndarray:
    """Share of lost runs among each network's jumps from low to below high, of networks that have any.

    Args:
        rulers: Sizes of the jumps, from each state of the networks (M, F).
        lost: Whether each run is, likewise (orders, M, F).
        low: Smallest size.
        high: Size above the largest.
    """
    inside = [(ruler >= low) & (ruler < high) for ruler in rulers]
    runs = sum(which.sum(axis=1) for which in inside)
    gone = sum((one.mean(axis=0) * which).sum(axis=1) for one, which in zip(lost, inside, strict=True))
    return gone[runs > 0] / runs[runs > 0]


def excess(output: np.ndarray, shares: np.ndarray, entropy: float) -> np.ndarray:
    """Mean loss of dead networks above the entropy, in the last two thirds of the updates (M,).

    Args:
        output: Of each batch, the same for all images (M, T, 10).
        shares: Of the classes in all images (10,).
        entropy: Of these shares.
    """
    b = output[:, output.shape[1] // 3 :].astype(float)
    return (logsumexp(b, axis=2) - b @ shares).mean(axis=1) - entropy


def brier(guess: np.ndarray, came: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Mean squared error of guesses at what came, for each network that was asked about (networks,).

    Args:
        guess: Probabilities (M, looks).
        came: Whether it came (M, looks).
        asked: Which of the looks count (M, looks).
    """
    many = asked.sum(axis=1)
    return (np.where(asked, guess - came, 0) ** 2).sum(axis=1)[many > 0] / many[many > 0]
