"""Networks trained in stages: which layers, under which head, towards what, with which learning rate.

The job for `lib.ensembles` behind every recipe of greedy and end-to-end training. A recipe is plain data, so
it can be shown, stored and sent elsewhere.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lib import data, diagnose, nets, streams, train
from lib.backend import tf
from lib.checks import choice, must, number, optional, whole, wholes
from lib.questions import images as pictures

BLOCK = 500  # test images at a time: their activations then stay in the cache
LOOKED = 50_000  # training images times members at a time: their activations then take some 100 MB
LEAST, LARGEST = math.ulp(0.0), sys.float_info.max
LABELS = "cross-entropy"  # the loss that looks at the labels


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        depth: Hidden layers in use, counted from the input. At full depth the output layer sits on top;
            below it a new head, drawn for this stage and thrown away after it.
        rates: Pieces (steps, learning rate) of the schedule, in order. The rate multiplies the gradient of
            the loss summed over the batch.
        learns: Numbers of the layers that learn, from 0; the head counts as number ``depth``. None for all.
        fresh: Numbers of the layers drawn anew before the stage.
        loss: 'cross-entropy' to the class; 'squared error' or, for depth 1, 'binary cross-entropy' to what
            the topmost layer in use receives, with a head that reproduces it: an autoencoder, which needs no
            labels.
        optimiser: Name in `lib.train.OPTIMISERS`.
        images: First image and number of images of this stage, where they are not the recipe's own.
    """

    depth: int
    rates: tuple[tuple[int, float], ...]
    learns: tuple[int, ...] | None = None
    fresh: tuple[int, ...] = ()
    loss: str = "cross-entropy"
    optimiser: str = "sgd"
    images: tuple[int, int] | None = None


def recipe(
    stages: Sequence[Stage],
    *,
    images: tuple[int, int],
    sizes: Sequence[int],
    sd: float,
    bias: float,
    batch: int,
    divisor: int = 255,
    ridge: float | None = None,
    judged_on: tuple[int, int] | None = None,
) -> dict:
    """A recipe as plain data, checked whole.

    Args:
        stages: The stages in order.
        images: First image and number of images, in the training file.
        sizes: Units of input (784), hidden layers and output (10).
        sd: Standard deviation of the truncated normal weights.
        bias: Initial value of the biases.
        batch: Images in a batch; divides the number of images.
        divisor: Pixels are divided by this, 255 or 256.
        judged_on: First image and number of images, in the training file, to judge the networks on;
            default the test file. For choices that must not be made on the test images.
        ridge: If given, also measure linear probes of each hidden layer with this penalty
            (`lib.diagnose.probe`).

    Raises:
        ValueError: Anything in it does not fit.
    """
    shapes = nets.shapes(sizes)
    if sizes[0] != 784 or sizes[-1] != data.CLASSES:
        raise ValueError(f"sizes must begin with 784 and end with {data.CLASSES}, got {list(sizes)}")
    sd, bias = number(LEAST, LARGEST)("sd", sd), number(-LARGEST, LARGEST)("bias", bias)
    must(divisor in (255, 256), "divisor", "255 or 256", repr(divisor))
    ridge = optional(number(LEAST, LARGEST))("ridge", ridge)
    if not stages:
        raise ValueError("stages must hold at least one stage")
    used = [("images", images)]
    used += [(f"stage {k}: images", s.images) for k, s in enumerate(stages) if s.images is not None]
    for name, chosen in [*used, *([("judged_on", judged_on)] if judged_on is not None else [])]:
        pair = isinstance(chosen, (tuple, list)) and len(chosen) == 2
        must(pair, name, "a pair (first image, number of images)", repr(chosen))
        data.check_range(*chosen)
    for name, chosen in used:
        train.cycled(chosen[1], batch, 1)
        if judged_on is not None and max(chosen[0], judged_on[0]) < min(sum(chosen), sum(judged_on)):
            raise ValueError(f"judged_on {judged_on} shares images with {name} {chosen}")
    stages = [_checked(stage, f"stage {k}: ", len(shapes) - 1) for k, stage in enumerate(stages)]
    return {
        "stages": [asdict(stage) for stage in stages],
        "images": [int(n) for n in images],
        "sizes": [int(s) for s in sizes],
        "sd": float(sd),
        "bias": float(bias),
        "batch": int(batch),
        "divisor": int(divisor),
        "ridge": ridge,
        "judged_on": judged_on and [int(n) for n in judged_on],
        "data": data.CONTENT_SHA256,
    }


def _checked(stage: Stage, where: str, most: int) -> Stage:
    """A stage in plain values; refuses, naming where, what does not fit on this many layers but the head."""
    pairs = stage.rates
    paired = isinstance(pairs, (tuple, list)) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs
    )
    must(paired, f"{where}rates", "pairs (steps, rate)", repr(pairs))
    count, rate = whole(0, 10**9), number(0, LARGEST)
    depth = whole(1, most)(f"{where}depth", stage.depth)
    stage = Stage(
        depth,
        tuple((count(f"{where}steps in rates", n), rate(f"{where}rate in rates", r)) for n, r in pairs),
        optional(wholes(0, depth, 1))(f"{where}learns", stage.learns),
        wholes(0, most)(f"{where}fresh", stage.fresh),
        choice(train.LOSSES)(f"{where}loss", stage.loss),
        choice(train.OPTIMISERS)(f"{where}optimiser", stage.optimiser),
        stage.images and tuple(int(n) for n in stage.images),
    )
    if not steps(stage):
        raise ValueError(f"{where}rates must hold at least one step, got {pairs!r}")
    if stage.loss == "binary cross-entropy" and depth > 1:
        raise ValueError(f"{where}loss 'binary cross-entropy' is for depth 1, got depth {depth}")
    return stage


def steps(stage: Stage) -> int:
    """Number of updates of a stage."""
    return sum(n for n, _ in stage.rates)


def networks(config: Mapping, seeds: Sequence[int]) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
    """Initial and trained layers of the networks with these seeds."""
    shapes = nets.shapes(config["sizes"])

    def draw(which: Sequence[tuple[int, int]], purpose: str, number: int) -> tuple[tf.Tensor, ...]:
        stream = streams.weights(purpose, number)
        return nets.truncated_normal(seeds, which, config["sd"], config["bias"], stream)

    start = draw(shapes, "initial", 0)
    layers = list(start)
    for k, stage in enumerate(Stage(**s) for s in config["stages"]):
        # Streams of their own: a stage more at the end does not change the draws of the others.
        if stage.fresh:
            anew = draw(shapes, "fresh", k)
            layers = [anew[i] if i in stage.fresh else layer for i, layer in enumerate(layers)]
        used = layers[: stage.depth]
        inputs, targets = pictures.taught(*(stage.images or config["images"]), config["divisor"])
        if stage.loss != LABELS:
            targets = inputs.x
            if stage.depth > 1:
                targets = nets.forward(used, inputs.x, "tanh")[stage.depth - 2]
        whole = stage.depth == len(layers) - 1 and stage.loss == LABELS
        head = layers[-1] if whole else draw([(used[-1].shape[2] + 1, targets.shape[-1])], "head", k)[0]
        learns = range(stage.depth + 1) if stage.learns is None else stage.learns
        batches = train.cycled(len(inputs), config["batch"], steps(stage))
        rates = np.concatenate([np.full(n, rate) for n, rate in stage.rates])
        trained = [i in learns for i in range(stage.depth + 1)]
        how = {"hidden": "tanh", "loss": stage.loss, "optimiser": stage.optimiser, "trained": trained}
        *used, head = train.fit((*used, head), inputs, targets, batches, rates, **how)
        layers[: stage.depth] = used
        if whole:
            layers[-1] = head
    return start, tuple(layers)


def _judge(
    layers: Sequence[tf.Tensor], probes: Sequence[tf.Tensor], x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Which images the probe of each hidden layer and the network itself classify rightly: (L, M, N)."""
    result = []
    for i in range(0, len(x), BLOCK):
        *hidden, z = nets.forward(layers, x[i : i + BLOCK], "tanh")
        scores = [tf.matmul(nets.with_ones(h), p) for h, p in zip(hidden, probes, strict=False)]
        result.append([diagnose.guess(s) == y[i : i + BLOCK] for s in (*scores, z)])
    return np.concatenate(result, axis=-1)


def _look(
    layers: Sequence[tf.Tensor], x: tf.Tensor, targets: np.ndarray, ridge: float | None
) -> tuple[dict[str, np.ndarray], list[tf.Tensor]]:
    """What a job measures on the training images, and a probe of each hidden layer, if asked for."""
    *activations, z = nets.forward(layers, x, "tanh")
    seen = {
        "loss": tf.reduce_mean(train.LOSSES["cross-entropy"].value(z, targets), axis=1).numpy(),
        "fitted": (diagnose.guess(z) == targets.argmax(axis=1)).mean(axis=1),
        "slope": diagnose.slope(activations),
        "dimension": diagnose.dimension(activations),
    }
    return seen, [] if ridge is None else [diagnose.probe(h, targets, ridge) for h in activations]


def job(config: Mapping, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Train the networks with these seeds by a recipe, and measure them.

    Args:
        config: From `recipe`.
        seeds: M seeds.

    Returns:
        Arrays with M rows. ``correct``: for each test image whether it is classified rightly, eight to a
        byte (see `unpack`); an output that is not finite is wrong. ``loss``: mean cross-entropy on the
        training images [nats]. ``fitted``: fraction of the training images classified rightly. For each
        layer: ``norm``, ``moved`` (distance from initialisation). For each hidden layer: ``slope`` and
        ``dimension`` on the training images, and ``probe`` on the test images, if asked for.
    """
    start, layers = networks(config, seeds)
    inputs, targets = pictures.taught(*config["images"], config["divisor"])
    test, labels = pictures.judged(config["judged_on"] and tuple(config["judged_on"]), config["divisor"])
    at_once = max(1, LOOKED // len(inputs))
    parts = [slice(k, k + at_once) for k in range(0, len(seeds), at_once)]
    looks = [_look([w[part] for w in layers], inputs.x, targets, config["ridge"]) for part in parts]
    probes = [tf.concat(p, axis=0) for p in zip(*(found for _, found in looks), strict=True)]
    *by_probe, right = _judge(layers, probes, test, labels)
    result = {name: np.concatenate([seen[name] for seen, _ in looks]) for name in looks[0][0]}
    result |= {
        "correct": np.packbits(right, axis=1),
        "norm": diagnose.norms(layers),
        "moved": diagnose.distances(layers, start),
    }
    if probes:
        result["probe"] = np.mean(by_probe, axis=2).T
    return result


def unpack(correct: np.ndarray, images: int = 10_000) -> np.ndarray:
    """The booleans (M, N) behind ``correct``: member by test image."""
    return np.unpackbits(correct, axis=1, count=images).astype(bool)
