"""What helps a network: a ladder of remedies, each a variant of its setting, and what they are worth."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lib import stats
from lib.questions import own
from lib.questions.own import Setting
from lib.sequential import RECTIFIERS

AGAIN = "start again"


def _rated(setting: Setting, factor: float) -> Setting | None:
    if setting.model is not None:
        return _optimised(setting, lambda config: {"learning_rate": factor * config["learning_rate"]})
    rates = tuple(factor * rate for rate in setting.rates)
    return replace(setting, rate=factor * setting.rate, rates=rates)


def _optimised(setting: Setting, change: Callable[[Mapping], dict]) -> Setting | None:
    """With other options of a Keras model's optimiser; None where its rate is no plain number."""
    model = json.loads(setting.model)
    config = model["compile_config"]["optimizer"]["config"]
    if not isinstance(config["learning_rate"], float | int):
        return None
    return replace(setting, model=json.dumps(model | _within(model, config | change(config)), sort_keys=True))


def _within(model: Mapping, config: dict) -> dict:
    compiled = model["compile_config"]
    return {"compile_config": compiled | {"optimizer": compiled["optimizer"] | {"config": config}}}


def _own(change: Callable[[Setting], dict | None]) -> Callable[[Setting], Setting | None]:
    """A remedy that changes what a Keras model decides on: there is none for those."""

    def remedy(setting: Setting) -> Setting | None:
        found = None if setting.model is not None else change(setting)
        return None if found is None else replace(setting, **found)

    return remedy


def _fitting(setting: Setting) -> dict:
    init = "he" if setting.hidden in (*RECTIFIERS, "leaky relu") else "glorot"
    return {"init": init, "sd": None, "gain": 1.0, "bias": 0.0, "bias_sd": 0.0}


def _fitting_loss(setting: Setting) -> dict | None:
    fits = {"output": "softmax", "loss": "cross-entropy"}
    return None if (setting.output, setting.loss) == tuple(fits.values()) else fits


def _clipped(setting: Setting) -> Setting:
    if setting.model is not None:
        return _optimised(setting, lambda config: {"global_clipnorm": 1.0})
    return replace(setting, clip=1.0)


def _both(*names: str) -> Callable[[Setting], Setting | None]:
    """Remedies of the ladder, one after the other."""

    def remedy(setting: Setting) -> Setting | None:
        for name in names:
            setting = setting and LADDER[name](setting)
        return setting

    return remedy


# Each makes another setting of one; or the same or None, where it changes nothing.
LADDER: dict[str, Callable[[Setting], Setting | None]] = {
    "rate / 10": lambda s: _rated(s, 0.1),
    "rate / 100": lambda s: _rated(s, 0.01),
    "rate x 10": lambda s: _rated(s, 10.0),
    "warm-up": _own(lambda s: {"warmup": max(1, s.epochs // 5)}),
    "clipping": _clipped,
    "inputs 0 to 1": lambda s: replace(s, pixels="0 to 1"),
    "normalised inputs": lambda s: replace(s, pixels="standardised"),
    "weights x 0.1": _own(lambda s: {"gain": 0.1 * s.gain}),
    "fitting initialisation": _own(_fitting),
    "LeakyReLU": _own(lambda s: {"hidden": "leaky relu"} if s.hidden in RECTIFIERS else None),
    "fitting loss": _own(_fitting_loss),
    "fitting initialisation, rate / 10": _both("fitting initialisation", "rate / 10"),
    "fitting initialisation, rate / 100": _both("fitting initialisation", "rate / 100"),
    "decay": _own(lambda s: {"decay": 1e-3} if not s.decay else {"decay": 0.0}),
}


def ladder(setting: Setting) -> dict[str, Setting]:
    """The remedies that change something in a setting, without curvature and with two looks."""
    plain = replace(setting, curved=False, looks=2)
    tried = {name: remedy(plain) for name, remedy in LADDER.items()}
    return {name: found for name, found in tried.items() if found not in (None, plain)}


class Worth(NamedTuple):
    """What a remedy is worth.

    Attributes:
        trained: Share of the networks that train, with an interval at the level that was asked for.
        epochs: Median epochs until those had learned; NaN where none trains.
        price: Epochs until a network trains, if those that do not are given up at the end of the run and
            started again: (epochs of those that train) + (run) (1 - share) / share. Infinite where none does.
    """

    trained: stats.Estimate
    epochs: float
    price: float


def worth(result: Mapping[str, np.ndarray], setting: Setting, level: float = 0.95) -> Worth:
    """What came of a setting, from what its job returned."""
    trains = own.outcome(result, setting.known()) == "trains"
    first = own.started(result, setting.epochs)[trains]
    epochs = float(np.median(first)) if len(first) else float("nan")
    share = trains.mean()
    price = epochs + setting.epochs * (1 - share) / share if share else float("inf")
    return Worth(stats.proportion(trains, level), epochs, price)


def advice(results: Mapping[str, Mapping], settings: Mapping[str, Setting], base: str) -> str:
    """One sentence that the numbers bear.

    Args:
        results: What the job returned for the network as it is, and for the remedies.
        settings: Their settings, by the same names.
        base: Name of the network as it is.

    Returns:
        Names the remedy whose networks train at the lowest price, among those whose share is above that of
        the network as it is: the intervals, Bonferroni's for the number of remedies, do not meet.
    """
    level = 1 - 0.05 / max(1, len(results) - 1)
    found = {name: worth(result, settings[name], level) for name, result in results.items()}
    now = found.pop(base)
    if now.trained.low > 0.5:
        return f"It trains as it is, {now.trained.value:.0%} of the networks: leave it."
    better = {name: w for name, w in found.items() if w.trained.low > now.trained.high}
    if better:
        best = min(better, key=lambda name: better[name].price)
        w = better[best]
        return (
            f"Take {best!r}: {w.trained.value:.0%} of the networks train instead of {now.trained.value:.0%}, "
            f"in about {w.price:.2g} epochs."
        )
    if now.trained.low > 0:
        return f"{AGAIN.capitalize()}: {now.trained.value:.0%} train, and no remedy is shown to do better."
    return "No remedy of the ladder is shown to help."
