"""Networks with planted faults, to judge the rule of `lib.diagnosis` by: it is told nothing of the fault."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lib import stats
from lib.diagnosis import MECHANISMS
from lib.questions.own import Setting

SMALL = {"count": 1000, "epochs": 10, "looks": 2}
# networks that learn, with their rates
SOUND = {
    "ReLU": Setting(**SMALL),
    "ReLU, convolutions": Setting(**SMALL, channels=(4, 8), dense=(32,)),
    "LeakyReLU, two layers": Setting(**SMALL, dense=(100, 50), hidden="leaky relu"),
    "GELU": Setting(**SMALL, hidden="gelu"),
    "tanh, two layers": Setting(**SMALL, dense=(50, 50), hidden="tanh"),
    "sigmoid, squared error": Setting(
        **SMALL, dense=(30,), hidden="sigmoid", output="sigmoid", loss="squared error", rate=3.0
    ),
    "sigmoid, binary cross-entropy": Setting(
        **SMALL, dense=(50,), hidden="sigmoid", output="sigmoid", loss="binary cross-entropy", rate=0.5
    ),
    "ReLU, linear outputs, squared error": Setting(**SMALL, output="linear", loss="squared error", rate=0.05),
    "ReLU, Adam": Setting(**SMALL, optimiser="adam", rate=0.001),
    "tanh, momentum": Setting(**SMALL, hidden="tanh", optimiser="momentum", rate=0.02),
}


HIGH = "rate too high"  # a cause, that shows as one mechanism or another
PLANTED = {name: (name,) for name in MECHANISMS} | {
    HIGH: ("step too large", "overflow", "dead units", "saturated units")
}


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


def planted() -> Iterator[Fault]:
    """Every fault at several strengths in several networks, and the sound networks at two more rates."""

    def fault(kind, how, network, **change):
        return Fault(kind, how, network, replace(SOUND[network], **change))

    for name, sound in SOUND.items():
        for part in (0.5, 1, 2):
            yield fault("healthy", f"rate x {part:g}", name, rate=part * sound.rate)
    for name in ("ReLU", "ReLU, convolutions", "GELU", "ReLU, linear outputs, squared error", "ReLU, Adam"):
        for bias in (-2.0, -5.0, -30.0):
            yield fault("dead units", f"biases of {bias:g}", name, bias=bias)
    for name in ("sigmoid, squared error", "tanh, two layers", "tanh, momentum"):
        for sd in (3.0, 10.0, 30.0):
            yield fault("saturated units", f"weights of deviation {sd:g}", name, init="normal", sd=sd)
    for name in ("ReLU", "LeakyReLU, two layers", "ReLU, linear outputs, squared error", "tanh, two layers"):
        for part in (10, 30, 100):
            yield fault(HIGH, f"rate x {part}", name, rate=part * SOUND[name].rate)
    for name, hidden in (("LeakyReLU, two layers", "leaky relu"), ("ReLU", "leaky relu"), ("GELU", "linear")):
        for part in (30, 100, 300):  # clipped, so that nothing overflows, in units that cannot be lost
            how = f"{hidden}, clipped, rate x {part}"
            yield fault("step too large", how, name, rate=part * SOUND[name].rate, clip=1.0, hidden=hidden)
    for name in SOUND:
        for part in (1e-2, 1e-3, 1e-5):
            yield fault("step too small", f"rate x {part:g}", name, rate=part * SOUND[name].rate)
    for name in ("LeakyReLU, two layers", "ReLU, linear outputs, squared error"):
        for part in (1e3, 1e5, 1e7):
            yield fault("overflow", f"rate x {part:g}", name, rate=part * SOUND[name].rate)
    for name in ("ReLU", "tanh, two layers", "sigmoid, binary cross-entropy", "LeakyReLU, two layers"):
        for decay in (0.1, 0.3, 1.0):
            yield fault("none of these", f"decay of {decay:g}", name, decay=decay)
        yield fault("none of these", "one hidden unit", name, dense=(1,))


def confusion(found: Sequence[tuple[Fault, Sequence[str]]]) -> dict[str, Counter[str]]:
    """How often each planted kind was diagnosed as what.

    Args:
        found: Faults, each with the diagnoses of its networks.

    Returns:
        Counts of networks by diagnosis, by planted kind, in the order of `PLANTED`.
    """
    counts = {kind: Counter() for kind in PLANTED}
    for fault, names in found:
        counts[fault.kind].update(map(str, names))
    return {kind: count for kind, count in counts.items() if count}


def right(counts: dict[str, Counter[str]]) -> dict[str, stats.Estimate]:
    """Share of each planted kind that is diagnosed rightly, with its interval.

    A network that learns in spite of its fault is healthy, and does not count.
    """
    shares = {}
    for kind, count in counts.items():
        failed = {name: n for name, n in count.items() if kind == "healthy" or name != "healthy"}
        if total := sum(failed.values()):
            hits = sum(n for name, n in failed.items() if name in PLANTED[kind])
            shares[kind] = stats.proportion(np.arange(total) < hits)
    return shares
