"""Networks with planted faults, to judge the rule of `lib.diagnosis` by: it is told nothing of the fault."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

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


class Fault(NamedTuple):
    """A planted fault.

    Attributes:
        mechanism: In `lib.diagnosis.MECHANISMS`: what it plants.
        how: What was changed.
        network: Name in `SOUND`.
        setting: With the fault.
    """

    mechanism: str
    how: str
    network: str
    setting: Setting


def planted() -> Iterator[Fault]:
    """Every fault at several strengths in several networks, and the sound networks at two more rates."""

    def fault(mechanism, how, network, **change):
        return Fault(mechanism, how, network, replace(SOUND[network], **change))

    for name, sound in SOUND.items():
        for part in (0.5, 1, 2):
            yield fault("healthy", f"rate x {part:g}", name, rate=part * sound.rate)
    for name in ("ReLU", "ReLU, convolutions", "GELU", "ReLU, linear outputs, squared error", "ReLU, Adam"):
        for bias in (-5.0, -30.0, -1000.0):
            yield fault("dead units", f"biases of {bias:g}", name, bias=bias)
    for name in ("sigmoid, squared error", "tanh, two layers", "tanh, momentum"):
        for sd in (10.0, 30.0, 100.0):
            yield fault("saturated units", f"weights of deviation {sd:g}", name, init="normal", sd=sd)
    for name in ("LeakyReLU, two layers", "ReLU, linear outputs, squared error", "tanh, two layers"):
        for part in (5, 10, 30):
            yield fault("step too large", f"rate x {part}", name, rate=part * SOUND[name].rate)
    for name in SOUND:
        for part in (1e-3, 1e-5):
            yield fault("step too small", f"rate x {part:g}", name, rate=part * SOUND[name].rate)
    for name in ("LeakyReLU, two layers", "ReLU, linear outputs, squared error"):
        for part in (1e3, 1e5, 1e7):
            yield fault("overflow", f"rate x {part:g}", name, rate=part * SOUND[name].rate)
    for name in ("ReLU", "tanh, two layers", "sigmoid, binary cross-entropy", "LeakyReLU, two layers"):
        for decay in (0.3, 1.0):
            yield fault("none of these", f"decay of {decay:g}", name, decay=decay)
        yield fault("none of these", "one hidden unit", name, dense=(1,))
