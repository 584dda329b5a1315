"""What is wrong with a Keras model, in one call: `look` measures it and names the mechanism.

from lib.look import look

look(model, x_train, y_train)
"""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment

from lib.backend import tf
from lib.checks import must
from lib.own import diagnosis, kerasmodels, symptoms
from lib.own.kerasmodels import ModelError, Outline
from lib.own.sequential import ACTIVATIONS, FITTING, RECTIFIERS, Net, Rule
from lib.own.symptoms import Symptoms

COUNT = 1000  # images at most: shares are then known to about one per cent
MOST = 4_000_000  # weights that curvature is measured of: it holds some twelve copies of them
FAR = 10.0  # images whose root mean square is beyond are not scaled: networks are made for about 1
ADDRESS = "SGD_BOOK_URL"  # where the book is published, in the environment if it is known
TITLES = {
    "plateau_after_lr_jump": "Plateau after a learning-rate jump",
    "broken_net_recovery": "Broken-net recovery",
}


@dataclass(frozen=True)
class Report:
    """What was measured on one network, and what it means.

    Attributes:
        found: Symptoms of the one network.
        net: What it is built of.
        rule: How it is trained.
        rate: Learning rate; NaN where it is not known.
        updates: That it has had.
        diagnosis: Name in `lib.own.diagnosis.MECHANISMS`.
        images: Number of images that it was looked at with.
        reach: Largest value in images that should be scaled, and are not; 0 in others.
        common: Share of the images that are of the most frequent class, in %.
        remarks: Mistakes beside the network that were seen, in sentences.
        reason: Why it was measured through Keras; empty where it was not.
        compiled: Whether it was compiled: else its updates are not known, and are 0 here.
        fitted: Whether its first weights were drawn to fit the layers, with biases of zero.
    """

    found: Symptoms
    net: Net | Outline
    rule: Rule
    rate: float
    updates: int
    diagnosis: str
    images: int
    reach: float
    common: float
    remarks: tuple[str, ...] = ()
    reason: str = ""
    compiled: bool = True
    fitted: bool = False

    @property
    def edge(self) -> float:
        """Rate times sharpness: steps are unstable above 2."""
        return float(symptoms.edge(self.found, self.rule, self.rate)[0])

    def data(self) -> dict[str, Any]:
        """All of it as plain data, ready for JSON; None where there is no number."""
        found = {name: _plain(value[0]) for name, value in self.found._asdict().items()}
        chapter = diagnosis.MECHANISMS[self.diagnosis].chapter
        own = {"diagnosis": self.diagnosis, "chapter": chapter}
        had = {"updates": self.updates, "images": self.images}
        names = {"layers": list(self.net.names), "units": list(map(" ".join, self._units()))}
        said = {"why": self.why(), "try": self.remedies(), "remarks": self._beside()}
        rate = {"rate": _plain(self.rate), "rate_times_sharpness": _plain(self.edge)}
        return own | had | said | names | rate | found

    def _units(self) -> list[tuple[str, str]]:
        return [(at, self.net.steps[k][0]) for at, k in zip(self.net.unit_names, self.net.units, strict=True)]

    def _beside(self) -> list[str]:
        return [*self.remarks, *filter(None, [self.near()])]

    def _first(self) -> Symptoms:
        return Symptoms(*(value[0] for value in self.found))

    def says(self) -> str:
        """What the diagnosis is, in a sentence."""
        f = self._first()
        if self.diagnosis == "healthy" and f.loss < diagnosis.LEARNED * f.level:
            return "It learns."
        if self.diagnosis == "healthy":
            had = "Its optimiser has made no update yet"
            if not self.compiled:
                had = "It is not compiled, so how long it was trained is not told"
            return f"{had}, and nothing that was measured keeps it from learning."
        if self.diagnosis == "step too large" and not self.updates:
            return "Its first steps would overshoot. Many networks get over that: train an epoch, look again."
        if self.diagnosis == "none of these" and self._begun():
            return "It learns in part, and none of the book's mechanisms is seen."
        return diagnosis.MECHANISMS[self.diagnosis].says

    def why(self) -> str:
        """The measurement that the diagnosis rests on, in a sentence."""
        f, units = self._first(), self._units()
        if self.diagnosis == "overflow":
            lost = [n for n, norm in zip(self.net.names, f.norm, strict=True) if not np.isfinite(norm)]
            return f"Infinite or no number (NaN): {', '.join(lost[:4]) or 'the loss'}."
        if self.diagnosis == "dead units":
            of = [k for k, (_, unit) in enumerate(units) if unit in RECTIFIERS]
            off = [k for k in of if f.lost[k] >= diagnosis.MOST or f.slope[k] < diagnosis.OFF]
            k = min(off, key=lambda k: f.slope[k], default=-1)  # else it is the output
            layer, unit = units[k]
            if not np.isfinite(f.lost[k]):  # units that are not seen, see `look`
                layer = self.net.names[int(np.flatnonzero(f.nonzero == 0)[-1])]
                return f"{layer}: the gradient is zero to the bit; what comes after it lets nothing through."
            return (
                f"{layer}: {f.lost[k]:.0%} of the {unit} units are off for all {self.images} images, "
                f"and the mean slope is {f.slope[k]:.2g}."
            )
        if self.diagnosis == "saturated units":
            shut = [k for k in self._smooth() if f.slope[k] < diagnosis.SHUT]
            k = min(shut, key=lambda k: f.slope[k], default=-1)
            layer, unit = units[k]
            return (
                f"{layer}: the mean slope of the {unit} units is {f.slope[k]:.2g} of the largest, "
                f"and {f.lost[k]:.0%} of them have none."
            )
        if self.diagnosis == "step too large":
            return f"Rate times sharpness is {self.edge:.3g}; steps overshoot above {diagnosis.BOUND:g}."
        if self.diagnosis == "step too small" and f.gain * diagnosis.SLOW > 1:
            return f"Rate times sharpness is {self.edge:.2g}: a hundred times the rate would still be stable."
        if self.diagnosis == "step too small":
            long = f"{1 / f.gain:.1g} updates" if f.gain > 0 else "for ever"
            return f"At a rate of {self.rate:.2g} it would take {long} for the loss to fall, as it falls now."
        return f"The loss is {f.loss:.3g}; an output that ignores the image has {f.level:.3g}."

    def _smooth(self) -> list[int]:
        return [k for k, (_, unit) in enumerate(self._units()) if unit in ("sigmoid", "tanh")]

    def _sure(self) -> bool:
        f = self._first()
        return bool(f.loss > 1.2 * f.level) and self._begun()

    def _begun(self) -> bool:  # a ninth of the way from always the most frequent class to all right
        return bool(self._first().accuracy > self.common + (100 - self.common) / 9)

    def _pulled(self) -> bool:  # as in the rule of lib.own.diagnosis
        return self.rule.decay * self.rate * self.updates > 1

    def near(self) -> str:
        """What a mechanism is near, of a network with none of them, or why steps are small; or empty."""
        f, units = self._first(), self._units()
        if self.diagnosis == "step too small":
            return self._fades()
        if self.diagnosis != "none of these":
            return ""
        for k in self._smooth():
            if f.slope[k] < 4 * diagnosis.SHUT:
                layer, unit = units[k]
                return (
                    f"{layer} is nearly saturated: the mean slope of its {unit} units is {f.slope[k]:.2g}, "
                    f"and below {diagnosis.SHUT:g} they are called so."
                )
        if self._sure():
            return "The outputs are very sure where they are wrong, as after steps that were too large."
        if self._pulled():
            return "The L2 penalty takes the weights away faster than the loss can hold them: a smaller one."
        return self._fades()

    def _fades(self) -> str:
        down, up = self._first().gradient[[0, -1]]
        if 0 < down < up / 100:
            return (
                f"The gradient fades: that of {self.net.names[0]} is 1/{up / down:.0f} of "
                f"that of {self.net.names[-1]}. Fewer layers pass on more, or rectifiers with he_normal."
            )
        return ""

    def remedies(self) -> list[str]:
        """What to try, with the model built anew, in words of Keras; the likeliest first."""
        f, hidden = self._first(), {unit for _, unit in self._units()[:-1]}
        names = list(diagnosis.MECHANISMS[self.diagnosis].remedies)
        if self.net.output in RECTIFIERS and self.diagnosis == "dead units":
            names = ["fitting loss", *names]
        if not self.updates and "fitting initialisation" in names:  # what is wrong was so from the start
            names = ["fitting initialisation", *(n for n in names if n != "fitting initialisation")]
        if self.diagnosis == "none of these":
            sure = self._sure()
            close = self._smooth() and np.nanmin([1, *f.slope[self._smooth()]]) < 4 * diagnosis.SHUT
            names = ["fitting initialisation"] * bool(close) + ["rate / 10"] * bool(sure) + ["labels", "few"]
            names += [] if sure or self._pulled() else ["rate x 10"]
            names = ["on"] * (self._begun() and not sure) + names
        void = {
            "LeakyReLU": not hidden & set(RECTIFIERS),
            "fitting loss": self.net.output == FITTING.get(self.net.loss),
            "fitting initialisation": self.fitted and self.updates,  # then training took them astray
            "normalised inputs": self.reach,
        }
        known, binary = np.isfinite(self.rate), self.net.classes == 2 and isinstance(self.net, Outline)
        init = "he_normal" if hidden & {*RECTIFIERS, "leaky relu"} else "glorot_uniform"
        last = (
            ("sigmoid", "binary_crossentropy") if binary else ("softmax", "sparse_categorical_crossentropy")
        )
        higher = self.rate / self.edge if 0 < self.edge < 1 else max(10 * self.rate, 1e-3)
        words = {
            "rate / 10": f"learning_rate={self.rate / 10:.2g}, or lower still" if known else "a lower rate",
            "rate x 10": f"learning_rate={higher:.1g}" if known else "a higher rate",
            "clipping": "global_clipnorm=1.0 in the optimiser",
            "LeakyReLU": "activation='leaky_relu' in place of 'relu'",
            "fitting initialisation": f"kernel_initializer={init!r} in all layers, and biases of zero",
            "normalised inputs": "(x - x.mean()) / x.std() for x",
            "fitting loss": f"activation={last[0]!r} in the last layer, and loss={last[1]!r}",
            "warm-up": "a rate that rises from zero over the first epochs",
            "on": "more epochs: it has begun to learn",
            "labels": "plot ten images with their labels: do they belong together?",
            "few": "100 images, many epochs: a network that cannot learn these by heart is too small, or "
            "images and labels do not belong together",
        }
        scale = [f"x / {self.reach:.3g} for x: your images go up to {self.reach:.3g}"] * bool(self.reach)
        scale *= self.diagnosis != "healthy"
        return scale + [words[name] for name in names if not void.get(name)]

    def where(self) -> tuple[str, str]:
        """Title of the chapter that explains it, and its address where that is known; or empty."""
        chapter, address = diagnosis.MECHANISMS[self.diagnosis].chapter, os.environ.get(ADDRESS, "")
        web = address.startswith(("http://", "https://"))
        return TITLES.get(chapter, ""), f"{address.rstrip('/')}/chapters/{chapter}.html" if web else ""

    def rows(self) -> list[tuple[str, ...]]:
        """By layer: name, activation, share of units lost, their mean slope, norm of the gradient."""
        f, rows = self._first(), []
        units = list(zip(self._units(), f.lost, f.slope, strict=True))
        for layer, size, nonzero in zip(self.net.names, f.gradient, f.nonzero, strict=True):
            bits = f"{size:.2g}" if nonzero else "zero to the bit"
            on = [(unit, *seen) for (at, unit), *seen in units if at == layer and unit != "linear"]
            for unit, lost, slope in on or [("", np.nan, np.nan)]:
                told = (f"{lost:.0%}", f"{slope:.2g}") if np.isfinite(slope) else ("", "")
                rows.append((layer, unit, *told, bits))
                bits = ""  # once for each layer
        return rows

    def lines(self) -> list[str]:
        """In words: what else was measured."""
        f = self._first()
        said = []
        if np.isfinite(f.loss) and self.diagnosis not in ("healthy", "none of these"):
            times = f.loss / f.level
            part = f"{times:.0%} of" if times < 10 else f"{times:.3g} times"
            said.append(f"Loss {f.loss:.3g}: {part} the {f.level:.3g} of an output that ignores the image.")
        share = f.predicted.max()
        said.append(f"Right: {f.accuracy:.1f} % of {self.images} images. One class gets {share:.0%} of them.")
        if np.isfinite(self.edge):
            sharp = np.fmax(f.sharpness, f.batch_sharpness)
            times = f"times the rate of {self.rate:.3g} it is {self.edge:.2g}"
            said.append(f"Sharpness {sharp:.3g}; {times}: steps overshoot above {diagnosis.BOUND:g}.")
        elif np.isfinite(f.loss):
            scaled = self.rule.optimiser == "adam"
            why = "the optimiser scales them by itself" if scaled else "too many weights"
            why = "the rate is not known" if np.isnan(self.rate) else why
            said.append(f"Whether steps overshoot is not told: {why}.")
        if np.isfinite(self.rate) and np.isfinite(f.stride).any():
            said.append(f"A first step moves pre-activations by up to {np.nanmax(f.stride):.2g} widths.")
        if self.reason:
            said.append(f"Measured through Keras alone, as this book's own engine cannot: {self.reason}.")
        return said

    def figure(self) -> Figure:
        """Slopes and gradients by layer, and the share of the images that each class gets."""
        f = self._first()
        tall = max(len(f.slope), 0.6 * len(f.gradient))
        fig = Figure(figsize=(9, max(2.4, 0.6 + 0.45 * tall)), layout="constrained")
        a, b, c = fig.subplots(1, 3)
        units = [f"{layer}\n{unit}" for layer, unit in self._units()]
        shown = np.isfinite(f.slope)
        a.barh(np.arange(len(units))[shown], f.slope[shown], color="#4477aa")
        a.set(xlim=(0, 1), xlabel="mean slope of the units [1]", yticks=range(len(units)), yticklabels=units)
        a.set(ylim=(len(units) - 0.5, -0.5))
        for k in np.flatnonzero(f.slope < 0.02):  # too short a bar to see
            a.text(0.02, k, f"{f.slope[k]:.2g}", va="center", color="#4477aa")
        for k in np.flatnonzero(~shown):
            a.text(0.02, k, _unseen(self.net, k), va="center", color="#666666")
        size = np.where(f.gradient > 0, f.gradient, np.nan)
        b.plot(size, range(len(size)), "o", color="#cc6677")
        decades = np.log10(size[np.isfinite(size)]) if np.isfinite(size).any() else np.zeros(1)
        ends = 10 ** np.floor(decades.min() - 1), 10 ** np.ceil(decades.max() + 0.1)
        b.set(xscale="log", xlim=ends, xlabel="norm of the gradient [1]", yticks=range(len(size)))
        b.set(yticklabels=self.net.names, ylim=(len(size) - 0.5, -0.5))
        b.minorticks_off()
        for k in np.flatnonzero(~(f.gradient > 0)):
            said = "zero to the bit" if f.gradient[k] == 0 else "not finite"
            b.text(0.02, k, said, va="center", transform=b.get_yaxis_transform(), color="#cc6677")
        c.bar(range(len(f.predicted)), 100 * f.predicted, color="#999933")
        c.set(xlabel="class", ylabel="images put there [%]", ylim=(0, 100))
        c.xaxis.get_major_locator().set_params(integer=True)
        return fig

    def __repr__(self) -> str:
        """The words."""
        title, address = self.where()
        head = [f"{self.diagnosis.capitalize()}. {self.says()} {self.why()}", *self._beside()]
        if tried := self.remedies():
            head += [TRY, *(f"  {k}. {one}" for k, one in enumerate(tried, 1))]
        if title:
            head.append(f"Why: the book's chapter '{title}'{address and f', {address}'}.")
        rows = [HEAD, *self.rows()]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(v.ljust(n) for v, n in zip(row, wide, strict=True)).rstrip() for row in rows]
        return "\n".join([*head, "", *table, "", *self.lines()])

    def _repr_html_(self) -> str:
        drawing = io.BytesIO()
        self.figure().savefig(drawing, format="svg", metadata={"Date": None})
        svg = drawing.getvalue().decode().partition("<svg")[2]
        alt = "Slopes of the units and gradients by layer, and the share of the images that each class gets"
        title, address = self.where()
        html = f"<p><b>{self.diagnosis.capitalize()}.</b> {escape(f'{self.says()} {self.why()}')}</p>"
        html += "".join(f"<p>{escape(one)}</p>" for one in self._beside())
        if tried := self.remedies():
            items = "".join(f"<li>{escape(one)}</li>" for one in tried)
            html += f"<p>{TRY}</p><ol>{items}</ol>"
        if title:
            name = f'<a href="{escape(address)}">{title}</a>' if address else f"<i>{title}</i>"
            html += f"<p>Why: the book's chapter {name}.</p>"
        cells = "".join(
            "<tr>" + "".join(f"<{tag}>{escape(v)}</{tag}>" for v in row) + "</tr>"
            for tag, row in [("th", HEAD), *(("td", row) for row in self.rows())]
        )
        rest = "".join(f"<li>{escape(line)}</li>" for line in self.lines())
        html += f'<svg role="img" aria-label="{alt}"{svg}'
        return f"{html}<table>{cells}</table><ul>{rest}</ul>"


TRY = "To try, one at a time, with the model built anew:"
HEAD = ("layer", "units", "lost", "mean slope", "gradient")


def _unseen(net: Net | Outline, k: int) -> str:
    """Why an activation has no slope."""
    unit = net.steps[net.units[k]][0]
    whole = unit in ACTIVATIONS and ACTIVATIONS[unit].slope is None
    back = k == len(net.units) - 1 and unit == "sigmoid"  # its loss gives back what the slope takes
    return "never lost" if whole or back else "not measured"


def _plain(value: Any) -> Any:
    return np.where(np.isfinite(value), value, None).tolist()


# --- look ---


def look(
    model: Any,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    rate: float | None = None,
    batch: int = 32,
    seed: int = 0,
) -> Report:
    """Measure a Keras model as it is, and say what is wrong with it.

    Args:
        model: A Keras model that takes images and gives one row of outputs for each, or the path of a saved
            one. Its loss and learning rate are those it was compiled with; if it was not, the loss is the one
            that fits its output. Layers that `lib.own.sequential` does not know are measured through Keras.
        x: Images as the model takes them (N, ...), finite; 1000 of them, spread evenly, are looked at.
        y: Labels, whole numbers from 0 (N,) or (N, 1), or one-hot (N, K); 0 and 1 for a model of one output.
        rate: Learning rate, if it is another one.
        batch: Images in a batch.
        seed: Of where the search for the sharpest direction starts.

    Returns:
        The report; it shows itself in Jupyter. Nothing in the model is changed.

    Raises:
        ModelError: It is no Keras model, or was not built; its loss is not known, or does not fit.
        ValueError: x or y has another shape or kind, or holds NaN; the rate or the batch is out of range.
    """
    if isinstance(model, str | Path):
        model = kerasmodels.load(model)
    if not isinstance(model, tf.keras.Model):
        got = type(model).__name__
        raise ModelError(f"model must be a Keras model or the path of a saved one, got {got}")
    if not model.built:
        raise ModelError("the model has no weights yet: give it a keras.Input first, or call it on an image")
    rated = rate is None or isinstance(rate, Real) and 0 <= rate < np.inf
    fits = rated and isinstance(batch, Integral) and batch >= 1
    must(fits, "rate", "at least 0 and batch a whole number from 1", f"{rate!r} and {batch!r}")
    given, reason = model, ""
    try:
        compiled = model.get_compile_config()
    except Exception as e:  # whatever the reader's own code raises
        said = kerasmodels.in_short(e)
        raise ModelError(f"the optimiser or the loss of the model cannot be read: {said}") from None
    if not getattr(model, "inputs", None):
        model = _opened(model, x)
    model = kerasmodels.single(model)
    try:
        known, watched = kerasmodels.known(_text(model, compiled), optimised=False), None
    except kerasmodels.UnknownError as e:
        watched = kerasmodels.Watched(model, compiled)
        known, reason = watched.known, e
    net = known.net
    x, y = _data(model, x, y, net.classes)
    if rate is None:
        rate = float(np.asarray(given.optimizer.learning_rate)) if compiled else np.nan
    told = 0.0 if np.isnan(rate) else float(rate)
    curved = model.count_params() <= MOST
    if watched:
        found = watched.measure(x, y, rate=told, batch=batch, seed=seed, curved=curved)
    else:
        layers, how = kerasmodels.weights([model]), {"net": net, "rule": known.rule}
        found = symptoms.measure(layers, x, y, rate=told, batch=batch, seeds=[seed], curved=curved, **how)
    updates = int(given.optimizer.iterations) if compiled else 0
    name = str(diagnosis.diagnose(found, net, known.rule, rate, updates)[0])
    if watched and name == "step too small" and (found.nonzero == 0).any():
        name = "dead units"  # of a kind, or in a place, that is not seen
    own = not SCALING.isdisjoint(type(layer).__name__ for layer in _all_layers(model))
    far = not own and np.sqrt(np.mean(np.square(x, dtype=np.float64))) > FAR
    reach = float(np.abs(x).max()) if far else 0.0
    outputs = np.asarray(model(x, training=False))
    guess = watched.guess(outputs) if watched else outputs.argmax(axis=1)
    fresh = compiled and not updates or len(x) < 10 * net.classes  # then an order means nothing
    order = "" if fresh else _order(guess, y, net.classes)
    running = _running(watched, x, y, found) if watched else ""
    remarks = tuple(filter(None, (_logits(model, compiled), order, _alike(model), running)))
    told = remarks, str(reason), bool(compiled), _fitted(model)
    common = 100 * float(np.bincount(y).max()) / len(y)
    return Report(found, net, known.rule, float(rate), updates, name, len(x), reach, common, *told)


# layers and operations that scale images, or take numbers that are names
SCALING = {"Rescaling", "Normalization", "BatchNormalization", "LayerNormalization"}
SCALING |= {"TrueDivide", "Divide", "Multiply", "Subtract"}
SCALING |= {"Embedding", "Discretization", "Hashing", "StringLookup", "IntegerLookup", "CategoryEncoding"}


def _all_layers(model: Any) -> Iterator[Any]:
    """Layers and operations of a model and of the models in it."""
    for layer in getattr(model, "operations", None) or getattr(model, "layers", ()):
        yield layer
        yield from _all_layers(layer)


def _opened(model: Any, x: Any) -> Any:
    """A model of a class of its own as a graph of the layers that it calls, with the same weights."""
    try:
        image, training = tf.keras.Input(np.shape(x)[1:]), signature(model.call).parameters.get("training")
        given = {"training": None} if training and training.default is training.empty else {}
        return tf.keras.Model(image, model.call(image, **given))
    except Exception as e:  # whatever the reader's own code raises
        said = kerasmodels.in_short(e)
        raise ModelError(
            f"{type(model).__name__} cannot be opened on images as in x: {said}; its call must be of "
            "layers of Keras and keras.ops"
        ) from None


def _text(model: Any, compiled: dict | None) -> str:
    try:
        return json.dumps(json.loads(model.to_json()) | {"compile_config": compiled})
    except (NotImplementedError, TypeError) as e:
        raise kerasmodels.UnknownError(kerasmodels.in_short(e)) from None


def _running(watched: kerasmodels.Watched, x: np.ndarray, y: np.ndarray, found: Symptoms) -> str:
    """Whether BatchNormalization works in training, and its running means are not there yet."""
    layers = [n for n in watched.model.layers if type(n).__name__ == "BatchNormalization"]
    if not layers or not found.loss[0] > diagnosis.LEARNED * found.level[0]:
        return ""
    held = watched.model.variables  # a pass as in training moves the running means, and what Dropout draws
    before = [v.numpy() for v in held]
    loss = float(watched.mean(x, y, training=True)[0])
    for v, value in zip(held, before, strict=True):
        v.assign(value)
    if not loss < 0.75 * min(found.loss[0], found.level[0]):
        return ""
    return (
        f"As in training, with the means of the batch, the loss is {loss:.2g}: the running means of "
        f"{layers[0].name} have not caught up. Train on, or give BatchNormalization momentum=0.9."
    )


def _logits(model: Any, compiled: dict | None) -> str:
    loss, last = kerasmodels.loss_of(compiled), model.layers[-1].get_config().get("activation")
    if isinstance(loss, dict) and loss["config"].get("from_logits") and last in ("softmax", "sigmoid"):
        return (
            f"The loss has from_logits=True, but the outputs have been through {last}. This version of Keras "
            "takes that back by itself; leave out one of the two."
        )
    return ""


def _order(guess: np.ndarray, y: np.ndarray, classes: int) -> str:
    """Whether the outputs would be right under other names."""
    table = np.zeros((classes, classes))
    np.add.at(table, (guess[guess >= 0], y[guess >= 0]), 1 / len(y))
    mine, labels = linear_sum_assignment(-table)
    best, now = table[mine, labels].sum(), np.trace(table)
    if best < max(0.5, now + 0.3):
        return ""
    moved = [f"{a} for {b}" for a, b in zip(mine, labels, strict=True) if a != b and table[a, b] > 0]
    return (
        f"Outputs and labels are in another order: with other names {best:.0%} would be right, not "
        f"{now:.0%}. Output {', '.join(moved[:3])}{' and so on' if len(moved) > 3 else ''}."
    )


def _fitted(model: Any) -> bool:
    """Whether all first weights are drawn with a spread that fits the layer, and biases are zero at first."""
    starts = [s for n in model.layers if (s := getattr(n, "kernel_initializer", None)) is not None]
    biases = [s for n in model.layers if (s := getattr(n, "bias_initializer", None)) is not None]
    fit = all(isinstance(s, tf.keras.initializers.VarianceScaling) and s.scale <= 2 for s in starts)
    return fit and all(isinstance(s, tf.keras.initializers.Zeros) for s in biases)


def _alike(model: Any) -> str:
    """Whether a layer's weights are all the same, so that its units cannot become different."""
    for layer in model.layers:
        kernels = [w.numpy() for w in layer.weights if "kernel" in w.path]  # biases of some have two axes
        if any(w.ndim > 1 and np.ptp(w) == 0 for w in kernels):
            return (
                f"The weights of {layer.name} are all equal, so its units are, too: kernel_initializer must "
                "be a random one."
            )
    return ""


def _data(model: Any, x: Any, y: Any, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels that are looked at: float32 as the model takes them, int32 (N,)."""
    for name, value in (("x", x), ("y", y)):
        sparse = hasattr(value, "toarray")  # of SciPy
        array = hasattr(value, "__len__") and not hasattr(value, "element_spec") and not sparse
        hint = (
            f"{name}.toarray() is one"
            if sparse
            else "of a tf.data.Dataset take x, y = next(iter(dataset.unbatch().batch(1000)))"
        )
        must(array, name, "an array", f"{type(value).__name__}; {hint}")
    got = f"{len(x)} images and {len(y)} labels"
    must(len(x) == len(y) > 0, "x and y", "as many, and at least one", got)
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), COUNT)).round().astype(int))
    try:
        x, y = np.asarray(x)[chosen], np.asarray(y)[chosen]
    except ValueError:
        raise ValueError("x and y must be arrays, got rows of different shapes") from None
    return _images(x, model.input_shape[1:]), _labels(y, classes)


def _images(x: np.ndarray, wanted: tuple) -> np.ndarray:
    if x.dtype.kind not in "buif":
        raise ValueError(f"x must hold numbers, got {x.dtype}")
    one = x.shape[1:]
    if one == wanted[:-1] and wanted[-1:] == (1,):  # Keras takes both
        x = x[..., None]
    elif one[-1:] == (1,) and one[:-1] == wanted:
        x = x[..., 0]
    elif len(one) != len(wanted) or any(b not in (None, a) for a, b in zip(one, wanted, strict=True)):
        shape = ", ".join(map(str, wanted))
        hint = ""
        if len(one) == 3 and (*one[1:], one[0]) == tuple(wanted):
            hint = "; np.moveaxis(x, 1, -1) puts the channels last"
        elif None not in wanted and np.prod(one) == np.prod(wanted):
            hint = f"; x.reshape(-1, {shape}) is"
        raise ValueError(f"x must be (N, {shape}), as the model takes it, got {x.shape}{hint}")
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        bad = (~np.isfinite(x.reshape(len(x), -1)).all(axis=1)).sum()
        raise ValueError(f"x must be finite, got NaN or infinity in {bad} of {len(x)} images")
    return x


def _labels(y: np.ndarray, classes: int) -> np.ndarray:
    wanted = f"y must hold whole numbers from 0 to {classes - 1}, one for each image, or one-hot rows"
    if y.dtype.kind not in "buif":
        raise ValueError(f"{wanted}; got {y.dtype}. np.unique(y, return_inverse=True)[1] numbers them")
    if y.ndim == 2 and y.shape[1] == classes > 1:
        if not ((y == 0) | (y == 1)).all() or (y.sum(axis=1) != 1).any():
            raise ValueError(f"{wanted}; got rows that are not one 1 and else 0 (several labels, or values)")
        y = y.argmax(axis=1)
    if y.shape not in ((len(y),), (len(y), 1)):
        raise ValueError(f"{wanted}; got shape {y.shape}")
    y = y.reshape(-1)
    if not np.isfinite(y).all() or (y != np.round(y)).any() or y.min() < 0 or y.max() >= classes:
        raise ValueError(f"{wanted}; got {y.min()} to {y.max()}. Regression is not looked at")
    if y.min() == y.max():
        raise ValueError(f"y must hold more than one class, got {y.min()} alone")
    return y.astype(np.int32)
