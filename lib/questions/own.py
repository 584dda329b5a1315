"""A reader's own network: its settings, the job that trains it over many seeds, what became of each.

The job for `lib.ensembles` behind the chapter on one's own network. Networks that `lib.own.sequential` knows
are trained many at once; a Keras model with other layers by a loop of Keras, one by one. Both look at
themselves over time (`lib.own.symptoms`), so that `lib.own.diagnosis` can say what is wrong.
"""

import functools
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from lib import data, imagesets, order, train
from lib.backend import tf
from lib.checks import choice, fields, flag, must, number, numbers, optional, whole, wholes
from lib.own import archive, diagnosis, kerasmodels, sequential, symptoms
from lib.own.sequential import Net, Rule
from lib.questions import plateaus

CHUNK = 8  # networks at once; the activations of more would leave the cache
PIXELS = plateaus.PIXELS | {"-1 to 1": (127.5, 127.5)}
OFFERED = ("mnist", "digits", "fashion")  # images beside a reader's own file
PARTS = 20  # of a run, at least: means of the batches' losses over each say what became of it
SEEN = 1000  # training images at most that networks are looked at with

Steps = Annotated[tuple[int, ...], wholes(1, 10_000, 0, 20)]


@dataclass(frozen=True)
class Setting:
    """A network, its images, and how it is trained.

    Attributes:
        images: 'mnist', 'digits', 'fashion', or the path of an ``.npz`` as in `lib.own.archive`.
        count: Training images, the first ones; None for all.
        pixels: Name in `PIXELS`: how the numbers of the images are scaled.
        channels: Of each block of 3x3 convolution, activation and 2x2 pooling.
        dense: Units of each dense hidden layer.
        hidden: Activation of the hidden units, with `slope` for 'leaky relu'.
        slope: Of LeakyReLU for negative inputs.
        output: Activation of the outputs.
        loss: Name in `lib.own.sequential.LOSSES`.
        init: Name in `lib.own.sequential.INITS`, or 'normal' with the standard deviation `sd`.
        sd: Of the weights; None unless 'normal'.
        gain: The first weights and biases are multiplied by this.
        bias: Mean of the first biases.
        bias_sd: Their standard deviation.
        dropout: Share of the units of each dense hidden layer that a step drops.
        optimiser: Name in `lib.train.OPTIMISERS`.
        momentum: Decay of the velocity of 'momentum'.
        rate: Learning rate; it multiplies the gradient of the mean loss of a batch.
        changes: Epochs, from 1, from which on the rate is another one.
        rates: The rates from then on, as many.
        warmup: Epochs in which the rate rises from zero in equal steps.
        clip: Largest norm of the gradient; None for no limit.
        decay: This times the weights is added to their gradient.
        batch: Images in a batch; what is left at the end of an epoch is left out.
        epochs: Passes over the images.
        looks: How often the networks are looked at, from the start to the end.
        curved: Whether curvature is measured, at the first and the last look.
        model: JSON text of a compiled Keras model (`lib.own.kerasmodels.text`), which then decides on all
            from channels to decay. If the engine trains it, gain and warmup are heeded as well.
    """

    images: Annotated[str, lambda name, v: _text(name, v)] = "mnist"
    count: Annotated[int | None, optional(whole(1, 10**7))] = None
    pixels: Annotated[str, choice(PIXELS)] = "0 to 1"
    channels: Annotated[tuple[int, ...], wholes(1, 1000, 0, 10)] = ()
    dense: Steps = (100,)
    hidden: Annotated[str, choice([a for a in sequential.ACTIVATIONS if a != "softmax"])] = "relu"
    slope: Annotated[float, number(0, 1)] = 0.01
    output: Annotated[str, choice(sequential.OUTPUTS)] = "softmax"
    loss: Annotated[str, choice(sequential.LOSSES)] = "cross-entropy"
    init: Annotated[str, choice((*sequential.INITS, "normal"))] = "glorot"
    sd: Annotated[float | None, optional(number(0, 1e6))] = None
    gain: Annotated[float, number(0, 1e6)] = 1.0
    bias: Annotated[float, number(-1e6, 1e6)] = 0.0
    bias_sd: Annotated[float, number(0, 1e6)] = 0.0
    dropout: Annotated[float, number(0, 0.99)] = 0.0
    optimiser: Annotated[str, choice(train.OPTIMISERS)] = "sgd"
    momentum: Annotated[float, number(0, math.nextafter(1, 0))] = 0.9
    rate: Annotated[float, number(0, 1e12)] = 0.1
    changes: Annotated[tuple[int, ...], wholes(1, 10**6, rising=True)] = ()
    rates: Annotated[tuple[float, ...], lambda name, v: tuple(v) and numbers(0, 1e12)(name, v)] = ()
    warmup: Annotated[int, whole(0, 10**6)] = 0
    clip: Annotated[float | None, optional(number(1e-12, 1e30))] = None
    decay: Annotated[float, number(0, 1e6)] = 0.0
    batch: Annotated[int, whole(1, 10**6)] = 32
    epochs: Annotated[int, whole(1, 10**5)] = 5
    looks: Annotated[int, whole(2, 1000)] = 6
    curved: Annotated[bool, flag] = True
    model: str | None = None

    def __post_init__(self) -> None:
        """Checks it.

        Raises:
            ValueError: Something does not fit; says what, and what would.
        """
        fields(self)
        if (self.init == "normal") != (self.sd is not None):
            raise ValueError(
                f"sd must stand with init 'normal' alone, got {self.sd!r} with {self.init!r}; in "
                "a chapter's parameters 0 stands for none"
            )
        if len(self.changes) != len(self.rates):
            raise ValueError(f"rates must be as many as changes, {len(self.changes)}, got {self.rates!r}")

    def config(self) -> dict[str, Any]:
        """As plain data with the hash of the images, for `ensemble.run`; checks what depends on them.

        Raises:
            ValueError: The batch is larger than the images, the network does not fit on them, or its model
                has other outputs than there are classes.
            archive.ArchiveError: The reader's file cannot be used.
        """
        have = _load(self.images)
        count = min(self.count or len(have.y_train), len(have.y_train))
        most = f"at most the {count} training images"
        must((self.count or 0) <= count, "count", f"{most}, or 0 for all", self.count)
        must(self.batch <= count, "batch", most, self.batch)
        if self.epochs * (count // self.batch) <= plateaus.LAST:
            raise ValueError(f"epochs must be more: {count // self.batch} updates each are too few to judge")
        self.known()
        own = {} if self.images in OFFERED else {"images": str(Path(self.images).expanduser().resolve())}
        return asdict(self) | own | {"content": have.content}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Setting":
        """The setting of a configuration: the inverse of `config`.

        Raises:
            ValueError: The images are no longer those that the configuration was made with.
        """
        if _load(config["images"]).content != config["content"]:
            raise ValueError(f"{config['images']} holds other images than when this run began: start again")
        return cls(**{name: value for name, value in config.items() if name != "content"})

    def known(self) -> kerasmodels.Known | None:
        """The network as `lib.own.sequential` knows it; None for a Keras model that it does not.

        Raises:
            ValueError: The network does not fit on the images.
        """
        shape, classes = _load(self.images).x_train.shape[1:], _load(self.images).classes
        if self.model is not None:
            try:
                known = kerasmodels.known(self.model)
            except kerasmodels.UnknownError:
                known = None
            net = (known or kerasmodels.outline(self.model)).net  # says what does not fit
            if net.classes != classes:
                outputs = getattr(net, "outputs", net.classes)  # one stands for two classes
                told = f"{outputs} output{'s' * (outputs > 1)}"
                raise kerasmodels.ModelError(f"the model has {told}, the images {classes} classes")
            if None in net.image or math.prod(net.image) != math.prod(shape):
                raise kerasmodels.ModelError(f"the model takes {net.image}, the images are {shape}")
            return known
        act = (self.hidden, self.slope) if self.hidden == "leaky relu" else (self.hidden,)
        steps: list[tuple] = []
        for channels in self.channels:
            steps += [("conv", channels, 3, 1, "valid"), act, ("max pool", 2, 2, "valid")]
        steps.append(("flatten",))
        for units in self.dense:
            steps += [("dense", units), act] + [("dropout", self.dropout)] * (self.dropout > 0)
        side, room = min(shape[:2]), 0
        while (side := (side - 2) // 2) > 0:  # what a 3x3 convolution and 2x2 pooling leave
            room += 1
        if len(self.channels) > room:
            raise ValueError(
                f"channels must be of at most {room} convolutions on images of {shape[0]} x {shape[1]}, each "
                f"with a pooling after it, got {len(self.channels)}"
            )
        net = Net(shape, (*steps, ("dense", classes), (self.output,)), self.loss)
        # a momentum that the rule does not have would be another rule
        momentum = self.momentum if self.optimiser == "momentum" else 0.9
        return kerasmodels.Known(net, Rule(self.optimiser, momentum, self.clip, self.decay), self.rate)

    def rates_of(self, steps: int) -> np.ndarray:
        """Learning rate of each update, (epochs, steps); of a Keras model the one it was compiled with."""
        rate = np.full(self.epochs, (self.known() or kerasmodels.outline(self.model)).rate, float)
        for epoch, then in zip(self.changes, self.rates, strict=True):
            rate[epoch:] = then
        rising = np.minimum(1, (np.arange(self.epochs * steps) + 1) / (self.warmup * steps or 1))
        return rate[:, None] * rising.reshape(self.epochs, steps)

    @property
    def looked(self) -> list[int]:
        """Epochs after which networks are looked at, 0 and the last among them."""
        return sorted({round(e) for e in np.linspace(0, self.epochs, min(self.looks, self.epochs + 1))})


_PLAIN = ("images", "pixels", "batch", "epochs")  # what is given beside a Keras model as well
_NAMED = ("hidden", "output", "loss", "init", "bias", "bias_sd", "dropout", "optimiser")
_NAMED += ("momentum", "rate", "decay")


def setting(given: Mapping[str, Any], changed: Collection[str]) -> Setting:
    """The setting that a chapter's parameters name.

    Args:
        given: Fields of `Setting` by name, with 0 for none in ``count``, ``channels``, ``dense`` and ``sd``;
            ``rate_from`` and ``later_rates`` for its ``changes`` and ``rates``; and ``model``, the path of a
            ``.keras`` file or nothing.
        changed: Those that somebody gave another value than the chapter's default.

    Raises:
        ValueError: Something does not fit; a model is given, and what it decides on as well.
        kerasmodels.ModelError: The model cannot be used.
    """
    plain = {name: given[name] for name in _PLAIN} | {"count": given["count"] or None}
    if given["model"]:
        decided = {*_NAMED, "channels", "dense", "sd", "rate_from", "later_rates"}
        if both := sorted(decided & {*changed}):
            raise ValueError(f"model decides on {', '.join(both)}: give the one or the other")
        return Setting(**plain, model=kerasmodels.text(kerasmodels.load(given["model"])))
    lists = {name: tuple(n for n in given[name] if n) for name in ("channels", "dense")}
    later = [pair for pair in zip(given["rate_from"], given["later_rates"], strict=False) if pair[0]]
    if len(given["rate_from"]) != len(given["later_rates"]):
        raise ValueError(f"later_rates must be as many as rate_from, {len(given['rate_from'])}")
    changes, rates = zip(*later, strict=True) if later else ((), ())
    if list(changes) != sorted({*changes}) or changes and changes[-1] >= given["epochs"]:
        raise ValueError(
            f"rate_from must rise and stay below the {given['epochs']} epochs, got {given['rate_from']!r}"
        )
    sd = given["sd"] or (0.0 if given["init"] == "normal" else None)
    named = {name: given[name] for name in _NAMED}
    return Setting(**plain, **lists, **named, sd=sd, changes=changes, rates=rates)


def _text(name: str, value: object) -> str:
    must(isinstance(value, str) and value, name, f"one of {OFFERED} or the path of an .npz", repr(value))
    return value


# --- images ---


def _load(name: str) -> archive.Images:
    """Images that are not scaled, by name or path."""
    return _offered(name) if name in OFFERED else archive.read(name)


@functools.lru_cache(maxsize=2)
def _offered(name: str) -> archive.Images:
    if name == "mnist":
        parts, content = data.load(), data.CONTENT_SHA256
    else:
        x, y = imagesets.load(name)
        n = imagesets.TRAINING[name]
        parts, content = (x[:n], y[:n], x[n:], y[n:]), imagesets.content(name)
    x_train, y_train, x_test, y_test = parts
    x_train, x_test = (x.reshape(-1, 28, 28, 1) for x in (x_train, x_test))  # bytes, a quarter of float32
    return archive.Images(x_train, y_train.astype(np.int32), x_test, y_test.astype(np.int32), content)


def images(name: str, count: int | None, pixels: str) -> tuple[np.ndarray, ...]:
    """Training images, scaled, and their labels; then those to test on.

    'standardised' takes mean and deviation from all training images. The other scalings are meant for bytes;
    images that go up to 1 at most are taken for bytes that were divided by 255.
    """
    return _scaled(name, count, pixels, _load(name).content)


@functools.lru_cache(maxsize=2)
def _moments(name: str, content: str) -> tuple[np.float64, np.float64]:
    """Mean and standard deviation of all training pixels, 1 where they are all the same."""
    x = _load(name).x_train  # of this content
    mean = x.mean(dtype=np.float64)
    # in parts: all pixels at once would be eight times as large in float64, and take three times as long
    squares = sum(np.square(part - mean).sum() for part in np.array_split(x, -(-len(x) // 200)))
    return mean, np.sqrt(squares / x.size) or np.float64(1)


@functools.lru_cache(maxsize=2)
def _scaled(name: str, count: int | None, pixels: str, content: str) -> tuple[np.ndarray, ...]:
    have = _load(name)  # of this content
    mean, scale = (np.float32(v) for v in PIXELS[pixels])
    if pixels == "standardised":
        mean, scale = _moments(name, content)
    elif have.x_train.max() <= 1:
        mean, scale = mean / 255, scale / 255
    pair = (x.astype(np.float32) for x in (have.x_train[:count], have.x_test))
    x, x_test = ((x - np.float32(mean)) / np.float32(scale) for x in pair)
    return x, have.y_train[:count], x_test, have.y_test


def job(config: Mapping, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Train networks under a setting, and look at them.

    Args:
        config: From `Setting.config`.
        seeds: M seeds; each network has its own weights and its own order of the images.

    Returns:
        Arrays with M rows. ``part`` (M, Q): mean loss of the batches in each of Q equal parts of the run.
        ``test`` (M, E): accuracy on the test images in %, at each of E looks. ``look`` (M, E): the epochs of
        the looks. By the names of `lib.own.symptoms.Symptoms`, (M, E, ...): those, on the first training
        images; curvature at the first and the last look.
    """
    setting = Setting.of(config)
    known = setting.known()
    x, y, x_test, y_test = images(setting.images, setting.count, setting.pixels)
    shape = known.net.image if known else kerasmodels.drawn(setting.model, 0).input_shape[1:]
    x, x_test = (tf.constant(a.reshape(-1, *shape)) for a in (x, x_test))
    y = tf.constant(y)
    rates = setting.rates_of(len(y) // setting.batch)
    networks = (_Engine if known else _OneByOne)(setting, known, seeds, x, y)
    pieces = -(-PARTS // setting.epochs)
    looks, tests, parts = [], [], []
    for epoch in range(setting.epochs + 1):
        if epoch in setting.looked:
            now = _rate(rates, epoch, setting.warmup)
            looks.append(networks.look(now, setting.curved and epoch in (0, setting.epochs)))
            tests.append(networks.test(x_test, y_test))
        if epoch < setting.epochs:
            orders = [order.epoch(("own order", int(seed), epoch), len(y)) for seed in seeds]
            shown = np.stack([order.batches(o, setting.batch) for o in orders], axis=1)
            losses = networks.fit(shown, rates[epoch]).astype(np.float64)
            cut = np.array_split(losses, min(pieces, losses.shape[1]), axis=1)
            parts += [part.mean(axis=1) for part in cut]
    found = {name: np.stack(of, axis=1) for name, *of in zip(symptoms.Symptoms._fields, *looks, strict=True)}
    when = np.tile(setting.looked, (len(seeds), 1))
    return found | {"part": np.stack(parts, axis=1), "test": np.stack(tests, axis=1), "look": when}


class _Engine:
    """Networks that are trained many at once."""

    def __init__(self, setting: Setting, known: kerasmodels.Known, seeds: Sequence[int], x, y):
        self.net, self.x, self.y, self.state = known.net, x, y, train.State()
        self.options = {"net": known.net, "rule": known.rule, "seeds": seeds}
        self.batch = setting.batch
        if setting.model is not None:
            drawn = kerasmodels.weights([kerasmodels.drawn(setting.model, int(s)) for s in seeds])
        else:
            init = setting.sd if setting.init == "normal" else setting.init
            drawn = sequential.initial(seeds, known.net, init, setting.bias, setting.bias_sd)
        self.layers = tuple(setting.gain * w for w in drawn) if setting.gain != 1 else drawn

    def fit(self, batches: np.ndarray, rates: np.ndarray) -> np.ndarray:
        self.layers, losses = sequential.fit(
            self.layers, self.x, self.y, batches, rates, state=self.state, **self.options
        )
        return losses

    def look(self, rate: float, curved: bool) -> symptoms.Symptoms:
        some = self.x[:SEEN], self.y[:SEEN].numpy()
        how = {"rate": rate, "batch": self.batch, "curved": curved}
        return symptoms.measure(self.layers, *some, **self.options, **how)

    def test(self, x: tf.Tensor, y: np.ndarray) -> np.ndarray:
        return symptoms.accuracy(self.layers, x, y, self.net)


class _OneByOne:
    """Models that Keras trains one by one."""

    def __init__(self, setting: Setting, known: None, seeds: Sequence[int], x, y):
        classes = _load(setting.images).classes
        self.batch, self.x, self.y = setting.batch, x, y
        self.loops = [kerasmodels.Loop(setting.model, int(seed), classes) for seed in seeds]

    def fit(self, batches: np.ndarray, rates: np.ndarray) -> np.ndarray:
        pairs = zip(self.loops, np.moveaxis(batches, 1, 0), strict=True)
        return np.stack([loop.fit(self.x, self.y, one) for loop, one in pairs])

    def look(self, rate: float, curved: bool) -> symptoms.Symptoms:
        given = self.x[:SEEN], self.y[:SEEN], rate, self.batch, curved
        found = [loop.look(*given) for loop in self.loops]
        return symptoms.Symptoms(*(np.concatenate(each) for each in zip(*found, strict=True)))

    def test(self, x: tf.Tensor, y: np.ndarray) -> np.ndarray:
        return np.array([loop.accuracy(x, y) for loop in self.loops])


# --- what became of them ---

OUTCOMES = {
    "trains": "learned in the last parts of the run",
    "jumps": "neither learned nor flat in the last parts, and swings",
    "learns in part": "neither learned nor flat in the last parts, and stands",
    "collapses": "flat in the last parts or dead, and once learned",
    "never starts": "flat in the last parts or dead, and never learned",
    "unfinished": "lowest at the end, and not learned before the last parts",
    "overflows": "a weight or the loss is not finite",
}
MANY = {name: re.sub(r"s\b", "", name) for name in OUTCOMES}  # the same of several networks: train, jump
SWING, LATE = 0.2, 10  # of the level: a swing in the last parts
RIGHT = 0.15  # of the way from chance to all images right: more than a network that has not started
_NAMES = {
    "trained": "trains",
    "late bloomer": "trains",
    "trained, then collapsed": "collapses",
    "never started": "never starts",
    "unfinished": "unfinished",
    "diverged": "overflows",
}


def outcome(result: Mapping[str, np.ndarray], known: kerasmodels.Known | None) -> np.ndarray:
    """What became of each network, by the rule of `plateaus.outcome` on parts of the run.

    Names in `OUTCOMES` (M,), from what `job` and `Setting.known` return.
    """
    part, level = result["part"] / result["level"][:, -1:], 1.0
    kinds = [known.net.steps[k][0] for k in known.net.units[:-1]] if known else []
    off = np.isin(kinds, sequential.RECTIFIERS)
    dead = result["lost"][:, -1, : len(kinds)] * off if len(kinds) else np.zeros((len(part), 1))
    by_rule = plateaus.outcome(part, dead, result["finite"][:, -1], level)
    swings = np.ptp(np.nan_to_num(part[:, -LATE:], nan=0, posinf=0), axis=1) >= SWING
    rest = np.where(swings, "jumps", "learns in part")
    # a loss can be far above the level where many images are right and the others very wrong
    chance = 100 / result["predicted"].shape[-1]
    right = result["accuracy"][:, -1] > chance + RIGHT * (100 - chance)
    some = (by_rule == "never started") & right & ~(dead == 1).any(axis=1)
    by_rule = np.where(some, "oscillating", by_rule)
    return np.array([_NAMES.get(kind, other) for kind, other in zip(by_rule, rest, strict=True)])


def collapsed(result: Mapping[str, np.ndarray], epochs: int) -> np.ndarray:
    """Epoch at which each network last had learned (M,); NaN where it never had."""
    learned = result["part"] < diagnosis.LEARNED * result["level"][:, -1:]
    last = learned.shape[1] - learned[:, ::-1].argmax(axis=1)
    return np.where(learned.any(axis=1), last * epochs / learned.shape[1], np.nan)


def started(result: Mapping[str, np.ndarray], epochs: int) -> np.ndarray:
    """Epochs until each network first had learned (M,); NaN where it never had."""
    learned = result["part"] < diagnosis.LEARNED * result["level"][:, -1:]
    first = learned.argmax(axis=1) + 1
    return np.where(learned.any(axis=1), first * epochs / learned.shape[1], np.nan)


def fallen(result: Mapping[str, np.ndarray]) -> np.ndarray:
    """Points by which each network's accuracy on training images ends below its best look (M,).

    A network can lose many of them, and its loss still count as one that has learned.
    """
    return result["accuracy"].max(axis=1) - result["accuracy"][:, -1]


def at(result: Mapping[str, np.ndarray], look: int = -1) -> symptoms.Symptoms:
    """Symptoms of all networks at one look, the last one unless another is named."""
    return symptoms.Symptoms(**{name: result[name][:, look] for name in symptoms.Symptoms._fields})


def last_rate(setting: Setting, look: int = -1) -> float:
    """Learning rate of the last update before a look; NaN where it is a schedule of Keras."""
    steps = len(images(setting.images, setting.count, setting.pixels)[1]) // setting.batch
    return _rate(setting.rates_of(steps), setting.looked[look], setting.warmup)


def _rate(rates: np.ndarray, epoch: int, warmup: int) -> float:
    # at the start the one that warm-up leads to
    return float(rates[epoch - 1, -1] if epoch else rates[: warmup + 1].max())


def edge(result: Mapping[str, np.ndarray], setting: Setting, look: int = -1) -> np.ndarray:
    """`lib.own.symptoms.edge` of the networks at one look (M,); NaN where it was not measured."""
    known = setting.known() or kerasmodels.outline(setting.model)
    return symptoms.edge(at(result, look), known.rule, last_rate(setting, look))


def diagnose(result: Mapping[str, np.ndarray], setting: Setting) -> np.ndarray:
    """Which mechanism each network suffers from: names in `lib.own.diagnosis.MECHANISMS` (M,).

    Of what it learns in the last parts of the run only, so that a lucky last look does not count.
    """
    known = setting.known() or kerasmodels.outline(setting.model)
    steps = len(images(setting.images, setting.count, setting.pixels)[1]) // setting.batch
    learned = outcome(result, known) == "trains"
    rate = last_rate(setting)
    return diagnosis.diagnose(at(result), known.net, known.rule, rate, setting.epochs * steps, learned)


def described(setting: Setting) -> str:
    """A setting in words."""
    count = f"{setting.count:,}" if setting.count else "all"
    seen = f"{count} images of {Path(setting.images).name}, pixels {setting.pixels}"
    course = f"batches of {setting.batch}, {setting.epochs} epoch{'s' * (setting.epochs > 1)}"
    if setting.model is not None:
        layers = json.loads(setting.model)["config"]["layers"]
        return f"a Keras model of {len(layers)} layers; {seen}; {course}"
    layers = [f"{n} channels" for n in setting.channels] + [f"{n} units" for n in setting.dense]
    init = f"N(0, {setting.sd:g}²)" if setting.init == "normal" else setting.init
    init += f" times {setting.gain:g}" * (setting.gain != 1)
    if setting.bias or setting.bias_sd:
        init += f", biases {setting.bias:g} ± {setting.bias_sd:g}"
    rates = "".join(f", {r:g} from epoch {e}" for e, r in zip(setting.changes, setting.rates, strict=True))
    more = [("dropout", setting.dropout), ("weight decay", setting.decay), ("clipped at", setting.clip)]
    return "; ".join(
        [
            f"{', '.join(layers) or 'no hidden layer'}, {setting.hidden}",
            f"{setting.output} outputs, {setting.loss}",
            f"weights {init}",
            f"{setting.optimiser} at {setting.rate:g}{rates}",
            *(f"{name} {value:g}" for name, value in more if value),
            course,
            seen,
        ]
    )
