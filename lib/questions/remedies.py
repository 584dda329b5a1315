"""What helps a network: a ladder of remedies, each a variant of its setting, and what they are worth."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lib import stats
from lib.own.sequential import RECTIFIERS
from lib.questions import own
from lib.questions.own import Setting

AGAIN = "start again"
DECAY = 1e-3


def _own(
    change: Callable[[Setting], dict | None],
    layer: Callable[[dict, bool], None] | None = None,
    optimiser: Callable[[dict], dict] | None = None,
) -> Callable[[Setting], Setting | None]:
    """A remedy that changes fields of a setting.

    Args:
        change: Gives the fields that change.
        layer: Does the same to each layer of a Keras model, given as Keras writes it, and whether it is the
            last one; None where the fields speak of models as well, if only of those the engine trains.
        optimiser: Gives the options that change of a Keras model's optimiser, in place of ``layer``; there
            is no such remedy where its rate is no plain number.
    """

    def remedy(setting: Setting) -> Setting | None:
        if setting.model is not None and (layer or optimiser):
            model = json.loads(setting.model)
            if optimiser:
                config = model["compile_config"]["optimizer"]["config"]
                if not isinstance(config["learning_rate"], float | int):
                    return None
                config |= optimiser(config)
            else:
                layers = model["config"]["layers"]
                for one in layers:
                    layer(one, one is layers[-1])
            return replace(setting, model=json.dumps(model, sort_keys=True))
        known = setting.model is None or setting.known()
        found = change(setting) if known else None
        return None if found is None else replace(setting, **found)

    return remedy


def _rated(factor: float) -> Callable[[Setting], Setting | None]:
    return _own(
        lambda s: {"rate": factor * s.rate, "rates": tuple(factor * rate for rate in s.rates)},
        optimiser=lambda config: {"learning_rate": factor * config["learning_rate"]},
    )


def _keras(module: str, kind: str, /, **config: object) -> dict:
    return {"module": f"keras.{module}", "class_name": kind, "config": config, "registered_name": None}


def _fitting_layer(layer: dict, _last: bool) -> None:
    config = layer["config"]
    if "kernel_initializer" in config:  # he for a layer that does not say what comes after it
        smooth = config.get("activation") in ("sigmoid", "tanh", "softmax")
        config["kernel_initializer"] = _keras(
            "initializers", "GlorotUniform" if smooth else "HeNormal", seed=None
        )
        config["bias_initializer"] = _keras("initializers", "Zeros")


def _leaky_layer(layer: dict, last: bool) -> None:
    config = layer["config"]
    if config.get("activation") in RECTIFIERS and not last:
        config["activation"] = "leaky_relu"
    if layer["class_name"] == "ReLU" and not last:
        kept = {name: config[name] for name in ("name", "trainable", "dtype")}
        layer |= _keras("layers", "LeakyReLU", negative_slope=0.2, **kept)


def _decayed_layer(layer: dict, _last: bool) -> None:
    config = layer["config"]
    if "kernel_regularizer" in config:  # l2 |w|^2 in the loss: half of what is added to the gradient
        free = config["kernel_regularizer"] is None
        config["kernel_regularizer"] = _keras("regularizers", "L2", l2=DECAY / 2) if free else None


def _fitting(setting: Setting) -> dict:
    init = "he" if setting.hidden in (*RECTIFIERS, "leaky relu") else "glorot"
    return {"init": init, "sd": None, "gain": 1.0, "bias": 0.0, "bias_sd": 0.0}


def _fitting_loss(setting: Setting) -> dict | None:
    fits = {"output": "softmax", "loss": "cross-entropy"}
    return None if (setting.output, setting.loss) == tuple(fits.values()) else fits


def _both(*names: str) -> Callable[[Setting], Setting | None]:
    """Remedies of the ladder, one after the other."""

    def remedy(setting: Setting) -> Setting | None:
        for name in names:
            setting = setting and LADDER[name](setting)
        return setting

    return remedy


# Each makes another setting of one; or the same or None, where it changes nothing.
LADDER: dict[str, Callable[[Setting], Setting | None]] = {
    "rate / 10": _rated(0.1),
    "rate / 100": _rated(0.01),
    "rate x 10": _rated(10.0),
    "warm-up": _own(lambda s: {"warmup": max(1, s.epochs // 5)}),
    "clipping": _own(lambda s: {"clip": 1.0}, optimiser=lambda config: {"global_clipnorm": 1.0}),
    "inputs 0 to 1": lambda s: replace(s, pixels="0 to 1"),
    "normalised inputs": lambda s: replace(s, pixels="standardised"),
    "weights x 0.1": _own(lambda s: {"gain": 0.1 * s.gain}),
    "fitting initialisation": _own(_fitting, _fitting_layer),
    "LeakyReLU": _own(lambda s: {"hidden": "leaky relu"} if s.hidden in RECTIFIERS else None, _leaky_layer),
    "fitting loss": lambda s: None if s.model else _own(_fitting_loss)(s),
    "fitting initialisation, rate / 10": _both("fitting initialisation", "rate / 10"),
    "fitting initialisation, rate / 100": _both("fitting initialisation", "rate / 100"),
    "decay": _own(lambda s: {"decay": 0.0 if s.decay else DECAY}, _decayed_layer),
}


def plain(setting: Setting) -> Setting:
    """The same without curvature and with two looks, to see only whether it trains."""
    return replace(setting, curved=False, looks=2)


def ladder(setting: Setting) -> dict[str, Setting]:
    """The remedies that change something in a setting, `plain`."""
    base = plain(setting)
    tried = {name: remedy(base) for name, remedy in LADDER.items()}
    return {name: found for name, found in tried.items() if found not in (None, base)}


class Worth(NamedTuple):
    """What a setting is worth.

    Attributes:
        trained: Share of the networks that train.
        epochs: Median epochs until those had learned; NaN where none trains.
        price: Epochs until a network trains, if those that do not are given up at the end of the run and
            started again: (epochs of those that train) + (run) (1 - share) / share. Infinite where none does.
    """

    trained: stats.Estimate
    epochs: float
    price: float


def worth(result: Mapping[str, np.ndarray], setting: Setting) -> Worth:
    """What came of a setting, from what its job returned."""
    trains = own.outcome(result, setting.known()) == "trains"
    first = own.started(result, setting.epochs)[trains]
    epochs = float(np.median(first)) if len(first) else float("nan")
    share = trains.mean()
    price = epochs + setting.epochs * (1 - share) / share if share else float("inf")
    return Worth(stats.proportion(trains), epochs, price)


def chosen(found: Mapping[str, Worth], now: Worth) -> str | None:
    """The remedy with the lowest price, of those with which more networks train than as it is.

    It is the winner of several: what it is worth must be measured anew, on networks it was not chosen on.

    Args:
        found: What the remedies are worth, by name.
        now: What the network as it is is worth.
    """
    better = {name: w.price for name, w in found.items() if w.trained.value > now.trained.value}
    return min(better, key=better.__getitem__, default=None)


def advice(now: Worth, name: str | None, then: Worth | None) -> str:
    """One sentence that the numbers bear, of networks that the remedy was not chosen on.

    Args:
        now: What the network as it is is worth.
        name: The remedy that was chosen, None for none.
        then: What it is worth.
    """
    if now.trained.low > 0.5 or now.trained.value == 1:
        return f"It trains as it is, {100 * now.trained.value:.0f} % of the networks: leave it."
    if then and then.trained.low > now.trained.high:
        return (
            f"Take *{name}*: {100 * then.trained.value:.0f} % of the networks train "
            f"instead of {100 * now.trained.value:.0f} %, in about {then.price:.2g} epochs."
        )
    if now.trained.value > 0:
        trained = f"{100 * now.trained.value:.0f} % train"
        return f"{AGAIN.capitalize()}: {trained}, and no remedy is shown to do better."
    return "No remedy of the ladder is shown to help."
