"""Networks with planted faults, to judge the rule of `lib.own.diagnosis` by: it is told nothing of the fault.

Faults are drawn at random, each in a network of its own, so that every one is an independent trial. None of
the networks is one that the rule's thresholds were chosen on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lib import data, imagesets, stats, streams
from lib.own.diagnosis import MECHANISMS
from lib.questions import own
from lib.questions.own import Setting

DIGITS = {"images": "digits", "count": 1000, "epochs": 10, "looks": 2}
MNIST = DIGITS | {"images": "mnist"}
LONGER, SQUARED = {"epochs": 15}, {"loss": "squared error"}
# networks that learn, with their rates
SOUND = {
    "ReLU, small batch": Setting(**DIGITS | {"epochs": 5}, dense=(64,), batch=8, rate=0.05),
    "ReLU, convolution": Setting(**DIGITS, channels=(6,), dense=(20,), batch=16),
    "ReLU, three layers, Adam": Setting(**MNIST, dense=(40, 40, 40), optimiser="adam", rate=0.002),
    "LeakyReLU, momentum": Setting(
        **DIGITS, dense=(48, 48), hidden="leaky relu", slope=0.1, optimiser="momentum", rate=0.02
    ),
    "LeakyReLU, squared error": Setting(
        **MNIST | LONGER | SQUARED, dense=(50,), hidden="leaky relu", slope=0.2, output="linear", rate=0.05
    ),
    "GELU, binary cross-entropy": Setting(
        **MNIST, dense=(60,), hidden="gelu", output="sigmoid", loss="binary cross-entropy", rate=0.2
    ),
    "tanh, squared error": Setting(
        **DIGITS | LONGER | SQUARED, dense=(80,), hidden="tanh", output="linear", rate=0.01
    ),
    "tanh, three layers, Adam": Setting(
        **DIGITS, dense=(40, 40, 40), hidden="tanh", optimiser="adam", rate=0.002
    ),
    "sigmoid, momentum": Setting(
        **MNIST, dense=(50,), hidden="sigmoid", batch=16, optimiser="momentum", rate=0.1
    ),
    "sigmoid, squared error, AdaGrad": Setting(
        **DIGITS | SQUARED, dense=(40,), hidden="sigmoid", output="sigmoid", optimiser="adagrad", rate=0.3
    ),
}

HIGH = "rate too high"  # a cause, that shows as one mechanism or another
PLANTED = {name: (name,) for name in MECHANISMS} | {
    HIGH: ("step too large", "overflow", "dead units", "saturated units")
}
# Number n plants the kind at n modulo the length: as many of each in a row, of healthy ones twice as many.
KINDS = ("healthy", *PLANTED)


class Fault(NamedTuple):
    """A planted fault.

    Attributes:
        kind: Name in `PLANTED`, which has the diagnoses that are right for it.
        how: What was changed.
        network: Name in `SOUND`.
        setting: With the fault.
    """

    kind: str
    how: str
    network: str
    setting: Setting


_SMOOTH = [name for name in SOUND if name.startswith(("tanh", "sigmoid"))]
_OFF = [name for name in SOUND if name.startswith(("ReLU", "GELU"))]
_ALIVE = ["LeakyReLU, momentum", "LeakyReLU, squared error"]  # in units that cannot be lost
_LINEAR = ["LeakyReLU, squared error", "tanh, squared error"]
# By kind: in which networks the rate is multiplied, at least and at most by what.
_RATED = {
    "healthy": (list(SOUND), 0.5, 2),
    HIGH: (list(SOUND), 10, 1000),
    "step too small": (list(SOUND), 1e-6, 1e-2),
    "overflow": (["LeakyReLU, momentum", *_LINEAR], 1e3, 1e7),
    "step too large": (_ALIVE, 30, 1000),
}


def planted(number: int) -> Fault:
    """The fault of a number from 0 to 2**32 - 1: its kind in turn; network, way and strength are drawn.

    Strengths are drawn evenly in their logarithm.
    """
    rng = streams.generator("planted", number)
    kind = KINDS[number % len(KINDS)]

    def drawn(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    if kind in _RATED:
        names, *ends = _RATED[kind]
        name, part = str(rng.choice(names)), drawn(*ends)
        clip = 1.0 if kind == "step too large" else None  # so that nothing overflows
        setting = replace(SOUND[name], rate=part * SOUND[name].rate, clip=clip)
        return Fault(kind, f"rate x {part:.2g}", name, setting)
    if kind == "dead units":
        bias = -drawn(1, 100)
        names, how, change = _OFF, f"biases of {bias:.2g}", {"bias": bias}
    elif kind == "saturated units":
        sd = drawn(1, 100)
        names, how, change = _SMOOTH, f"weights of deviation {sd:.2g}", {"init": "normal", "sd": sd}
    elif rng.integers(2):
        decay = float(rng.choice((0.1, 0.3, 1.0)))
        names, how, change = list(SOUND), f"decay of {decay:g}", {"decay": decay}
    else:
        names, how, change = _LINEAR, "one hidden unit", {"dense": (1,)}
    name = str(rng.choice(names))
    return Fault(kind, how, name, replace(SOUND[name], **change))


def config() -> dict[str, Any]:
    """For `ensemble.run` with `job`: the images that the networks learn."""
    return {"digits": imagesets.content("digits"), "mnist": data.CONTENT_SHA256}


def job(config: Mapping, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Train the network of each planted fault, and have the rule diagnose it.

    Args:
        config: From `config`.
        seeds: M numbers of faults; each is also the seed of its network.

    Returns:
        Names (M,): the ``kind`` that was planted, the ``network`` and ``how``, and what the rule says,
        ``found``.
    """
    rows = []
    for number in map(int, seeds):
        kind, how, network, setting = planted(number)
        (found,) = own.diagnose(own.job(setting.config(), [number]), setting)
        rows.append((kind, network, how, found))
    names = ("kind", "network", "how", "found")
    return {name: np.array(of, str) for name, of in zip(names, zip(*rows, strict=True), strict=True)}


def confusion(result: Mapping[str, np.ndarray]) -> dict[str, Counter[str]]:
    """How often each planted kind was diagnosed as what, from what `job` returns.

    Counts of networks by diagnosis, by planted kind, in the order of `PLANTED`.
    """
    counts = {kind: Counter(result["found"][result["kind"] == kind].tolist()) for kind in PLANTED}
    return {kind: count for kind, count in counts.items() if count}


def right(counts: Mapping[str, Counter[str]]) -> dict[str, stats.Estimate]:
    """Share of each planted kind that is diagnosed rightly, with its interval; last of all, ``overall``.

    A network that learns in spite of its fault is healthy, and does not count.
    """
    hits: dict[str, np.ndarray] = {}
    for kind, count in counts.items():
        failed = [name for name in count.elements() if kind == "healthy" or name != "healthy"]
        hits[kind] = np.isin(failed, PLANTED[kind])
    hits["overall"] = np.concatenate(list(hits.values()))
    return {kind: stats.proportion(of) for kind, of in hits.items() if len(of)}
