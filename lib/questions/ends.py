"""Where trainings that begin alike end: how far apart, and what the loss does on the straight line between.

`job` for `lib.ensembles` trains each network whole, another way, and whole with its batches in reverse order;
then all three go on until they fit. Beside them stand two networks of one way from different starts. Copies
whose hidden units are reordered or turned round (tanh is odd) compute the same function, so two starts are
compared as they are and matched: one of them as the nearest such copy that is found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from lib import diagnose, nets, permutations, train
from lib.backend import tf
from lib.checks import number, whole
from lib.questions import images as pictures
from lib.questions import staged
from lib.questions.staged import Stage

CHUNK = 8  # networks at once: they are few, and all cores are to have some
WAYS = ("whole", "other", "reversed")
# two ends each, one of them before and after going on
PAIRS = ("two ways", "two orders", "before and after", "two starts", "two starts, matched")
MEASURES = ("loss", "wrong")  # along a line: on the training images [nats]; of the test images [fraction]
Network = Sequence[np.ndarray]


def plan(one: Mapping, other: Mapping, more: int, rate: float, points: int) -> dict:
    """A comparison as plain data.

    Args:
        one: Recipe of `staged`, of a single stage in which all layers learn by plain descent.
        other: Another recipe, for the same networks and images.
        more: Updates after either recipe.
        rate: Their learning rate.
        points: On each straight line, its ends among them.

    Raises:
        ValueError: The recipes are not of one kind, or a number does not fit.
    """
    (stage,) = one["stages"]
    plain = Stage(len(one["sizes"]) - 2, stage["rates"])
    if stage != asdict(plain):
        raise ValueError(f"one must train all layers by plain descent, got {stage}")
    differ = [name for name in one if name not in ("stages", "ridge") and one[name] != other[name]]
    if differ:
        raise ValueError(f"the recipes must agree but for their stages, they differ in {', '.join(differ)}")
    return {
        "one": dict(one),
        "other": dict(other),
        "more": whole(1, 10**9)("more", more),
        "rate": number(0, staged.LARGEST)("rate", rate),
        "points": whole(3, 1001)("points", points),
    }


def _along(a: Network, b: Network, config: Mapping) -> np.ndarray:
    """Each of `MEASURES` on the straight line from a to b: (M, 2, points)."""
    inputs, targets = pictures.taught(*config["one"]["images"], config["one"]["divisor"])
    test, labels = pictures.judged(None, config["one"]["divisor"])
    shares = np.linspace(0, 1, config["points"], dtype=np.float32)
    upper = [[tf.constant(v + s * (w - v)) for v, w in zip(a[1:], b[1:], strict=True)] for s in shares]

    def outputs(x):
        # the largest product is taken at the two ends only: on the line its result goes straight, too
        x = nets.with_ones(x)
        first, last = (nets.stacked(tf.matmul(x, nets.wide(tf.constant(n[0]))), len(n[0])) for n in (a, b))
        for share, layers in zip(shares, upper, strict=True):
            z = first + share * (last - first)
            for layer in layers:
                z = tf.matmul(nets.with_ones(tf.tanh(z)), layer)
            yield z

    value = train.LOSSES[staged.LABELS].value
    losses = [tf.reduce_mean(value(z, targets), axis=1).numpy() for z in outputs(inputs.x)]
    wrong = np.zeros((len(shares), len(a[0])))
    for i in range(0, len(test), staged.BLOCK):
        for k, z in enumerate(outputs(test[i : i + staged.BLOCK])):
            wrong[k] += (diagnose.guess(z) != labels[i : i + staged.BLOCK]).sum(axis=1)
    return np.stack([losses, wrong / len(test)]).transpose(2, 0, 1)


def _ends(config: Mapping, seeds: Sequence[int]) -> tuple[Network, dict[str, Network], dict[str, Network]]:
    """Starts; and the ends of each of `WAYS`, before and after going on."""
    one, more, size = config["one"], config["more"], config["one"]["batch"]
    inputs, targets = pictures.taught(*one["images"], one["divisor"])

    def fit(layers, rates, backwards):
        batches = train.cycled(len(inputs), size, len(rates))[:: -1 if backwards else 1]
        return train.fit(layers, inputs, targets, batches, rates, hidden="tanh", loss=staged.LABELS)

    start, first = staged.networks(one, seeds)
    rates = np.concatenate([np.full(n, rate) for n, rate in one["stages"][0]["rates"]])
    other = staged.networks(config["other"], seeds)[1]
    before = dict(zip(WAYS, (first, other, fit(start, rates, True)), strict=True))
    on = np.full(more, config["rate"])
    after = {way: fit(layers, on, way == "reversed") for way, layers in before.items()}
    return [w.numpy() for w in start], *(
        {way: [w.numpy() for w in layers] for way, layers in ends.items()} for ends in (before, after)
    )


def job(config: Mapping, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Train the networks with these seeds to their ends, and compare the ends.

    Args:
        config: From `plan`.
        seeds: M seeds. Each second one stands beside the one before it as the other start.

    Returns:
        Arrays with M rows. For each of `WAYS`: ``loss`` on the training images [nats] and ``fitted``
        (fraction of them) after going on, ``moved`` (distance from the start), and ``right``, the fraction of
        the test images before and after going on (M, 3, 2). For each of `PAIRS`: ``distance``, and ``along``
        (M, 5, 2, points), each of `MEASURES` on the straight line; NaN for two starts where a seed has none
        beside it. ``kept``: fraction of the hidden units that keep place and sign when the two ways are
        matched.
    """
    start, before, after = _ends(config, seeds)
    inputs, targets = pictures.taught(*config["one"]["images"], config["one"]["divisor"])
    test = pictures.judged(None, config["one"]["divisor"])
    looks = [staged._look([tf.constant(w) for w in after[way]], inputs.x, targets, None)[0] for way in WAYS]
    right = [[staged._judge(e[way], [], *test)[-1].mean(axis=1) for e in (before, after)] for way in WAYS]
    orders, signs = permutations.match_odd(after["whole"], after["other"])
    same = [(o == np.arange(o.shape[1])) & (s > 0) for o, s in zip(orders, signs, strict=True)]
    firsts = np.arange(0, len(seeds) - 1, 2)
    a, b = ([w[firsts + k] for w in after["whole"]] for k in (0, 1))
    ends = {
        "two ways": (after["whole"], after["other"]),
        "two orders": (after["whole"], after["reversed"]),
        "before and after": (before["whole"], after["whole"]),
        "two starts": (a, b),
        "two starts, matched": (a, permutations.permuted(b, *permutations.match_odd(a, b))),
    }
    distance = np.full((len(seeds), len(PAIRS)), np.nan)
    along = np.full((len(seeds), len(PAIRS), len(MEASURES), config["points"]), np.nan)
    for k, name in enumerate(PAIRS):
        rows = firsts if name.startswith("two starts") else np.arange(len(seeds))
        if len(rows):
            distance[rows, k] = permutations.distance(*ends[name])
            along[rows, k] = _along(*ends[name], config)
    return {
        "loss": np.stack([look["loss"] for look in looks], axis=1),
        "fitted": np.stack([look["fitted"] for look in looks], axis=1),
        "moved": np.stack([permutations.distance(after[way], start) for way in WAYS], axis=1),
        "right": np.moveaxis(np.array(right), -1, 0),
        "distance": distance,
        "along": along,
        "kept": np.concatenate(same, axis=1).mean(axis=1),
    }
