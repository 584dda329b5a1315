"""What is wrong with a Keras model, in one call: `look` measures it and names the mechanism.

from lib.look import look

look(model, x_train, y_train)
"""

import io
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lib import diagnosis, kerasmodels, symptoms
from lib.kerasmodels import ModelError
from lib.sequential import Net, Rule
from lib.symptoms import Symptoms

COUNT = 1000  # images at most: shares are then known to about one per cent
ROOT = "chapters"  # folder of the chapters, in links


@dataclass(frozen=True)
class Report:
    """What was measured on one network, and what it means.

    Attributes:
        found: Symptoms of the one network.
        net: What it is built of.
        rule: How it is trained.
        rate: Learning rate; NaN where it is not known.
        updates: That it has had.
        diagnosis: Name in `lib.diagnosis.MECHANISMS`.
    """

    found: Symptoms
    net: Net
    rule: Rule
    rate: float
    updates: int
    diagnosis: str

    @property
    def edge(self) -> float:
        """Rate times sharpness: steps are unstable above 2."""
        return float(symptoms.edge(self.found, self.rule, self.rate)[0])

    def data(self) -> dict[str, Any]:
        """All of it as plain data, ready for JSON; None where there is no number."""
        found = {name: _plain(value[0]) for name, value in self.found._asdict().items()}
        chapter = diagnosis.MECHANISMS[self.diagnosis].chapter
        own = {"diagnosis": self.diagnosis, "chapter": chapter, "updates": self.updates}
        names = {"layers": self.net.names, "units": list(map(" ".join, self._units()))}
        return own | names | {"rate": _plain(self.rate), "rate_times_sharpness": _plain(self.edge)} | found

    def _units(self) -> list[tuple[str, str]]:
        names = [self.net.steps[k][0] for k in self.net.units]
        return list(zip(self.net.unit_names, names, strict=True))

    def lines(self) -> list[str]:
        """In words: the diagnosis, then what it rests on."""
        f = Symptoms(*(value[0] for value in self.found))
        mechanism = diagnosis.MECHANISMS[self.diagnosis]
        said = [f"{self.diagnosis.capitalize()}. {mechanism.says}"]
        if mechanism.remedies:
            said.append(f"To try, from fresh weights: {'; '.join(mechanism.remedies)}.")
        if np.isfinite(f.loss):
            part = f"{f.loss / f.level:.0%} of the {f.level:.3g} of an output that ignores the image"
            said.append(f"Loss {f.loss:.3g}: {part}.")
        else:
            said.append("The loss is no finite number.")
        share = f.predicted.max()
        said.append(f"Right: {f.accuracy:.1f} %. One class gets {share:.0%} of the images.")
        for (layer, unit), lost, slope in zip(self._units(), f.lost, f.slope, strict=True):
            if np.isfinite(lost):
                kind = "dead" if unit == "relu" else "without a slope"
                said.append(f"{layer}, {unit}: {lost:.0%} of the units {kind}; mean slope {slope:.2g}.")
        for layer, norm, nonzero in zip(self.net.names, f.gradient, f.nonzero, strict=True):
            bits = f"{norm:.2g}" if nonzero else "zero to the bit"
            said.append(f"{layer}: gradient {bits}.")
        if np.isfinite(self.edge):
            sharp = np.fmax(f.sharpness, f.batch_sharpness)
            said.append(
                f"Sharpness {sharp:.3g}; times the rate of {self.rate:.3g} it is {self.edge:.2g}: "
                f"steps overshoot above {diagnosis.BOUND:g}."
            )
        if np.isfinite(self.rate) and np.isfinite(f.stride).any():
            said.append(f"A first step moves pre-activations by up to {np.nanmax(f.stride):.2g} widths.")
        return said

    def figure(self) -> Figure:
        """Slopes and gradients by layer, and the share of the images that each class gets."""
        f = Symptoms(*(value[0] for value in self.found))
        fig = Figure(figsize=(9, max(2.4, 0.5 * len(f.slope))), layout="constrained")
        a, b, c = fig.subplots(1, 3)
        units = [f"{layer}\n{unit}" for layer, unit in self._units()]
        shown = np.isfinite(f.slope)
        a.barh(np.arange(len(units))[shown], f.slope[shown], color="#4477aa")
        a.set(xlim=(0, 1), xlabel="mean slope of the units [1]", yticks=range(len(units)), yticklabels=units)
        a.set(ylim=(len(units) - 0.5, -0.5))
        for k in np.flatnonzero(~shown):
            a.text(0.02, k, "never lost", va="center", color="#666666")
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
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        drawing = io.BytesIO()
        self.figure().savefig(drawing, format="svg", metadata={"Date": None})
        svg = drawing.getvalue().decode()
        first, *rest = map(escape, self.lines())
        head, _, says = first.partition(". ")
        chapter = diagnosis.MECHANISMS[self.diagnosis].chapter
        link = f' <a href="{ROOT}/{chapter}.ipynb">Why, and what helps</a>.' if chapter else ""
        items = "".join(f"<li>{line}</li>" for line in rest)
        return f"<p><b>{head}.</b> {says}{link}</p>{svg[svg.index('<svg') :]}<ul>{items}</ul>"


def _plain(value: Any) -> Any:
    value = np.asarray(value)
    if value.ndim:
        return [_plain(v) for v in value]
    if value.dtype.kind == "b":
        return bool(value)
    return float(value) if np.isfinite(value) else None


def look(
    model: Any, x: np.ndarray, y: np.ndarray, *, rate: float | None = None, batch: int = 32, seed: int = 0
) -> Report:
    """Measure a Keras model as it is, and say what is wrong with it.

    Args:
        model: Of dense, convolutional (square), pooling, flattening, dropout and activation layers in a row.
            Its loss and learning rate are those it was compiled with; if it was not, the loss is the one
            that fits its output.
        x: Images as the model takes them (N, ...), finite; the first 1000 are looked at.
        y: Labels, whole numbers (N,), or one-hot (N, K).
        rate: Learning rate, if it is another one.
        batch: Images in a batch.
        seed: Of where the search for the sharpest direction starts.

    Returns:
        The report; it shows itself in Jupyter. Nothing in the model is changed.

    Raises:
        ModelError: A layer, a loss or an option is not known, or the outputs do not fit the labels.
        ValueError: x or y has another shape, or holds NaN; the rate or the batch is out of range.
    """
    try:
        text = model.to_json()
        known = kerasmodels.known(text, optimised=False)
    except (AttributeError, NotImplementedError, TypeError) as e:
        raise ModelError(f"the model has no architecture to read: {' '.join(str(e).split())[:200]}") from None
    if known.net.classes < 2:
        raise ModelError("the model has one output, wanted one for each class")
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim < 2 or x.shape[1:] != known.net.image or not len(x):
        raise ValueError(f"x must be (N, {', '.join(map(str, known.net.image))}), got {x.shape}")
    x = x[:COUNT].astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError("x must be finite, got NaN or infinity in its first images")
    if y.ndim == 2 and y.shape[1] == known.net.classes:
        y = y.argmax(axis=1)
    y = y.reshape(-1)[:COUNT]
    if len(y) != len(x) or (y != np.round(y)).any() or y.min() < 0 or y.max() >= known.net.classes:
        raise ValueError(
            f"y must hold {len(x)} labels from 0 to {known.net.classes - 1}, one for each output of the model"
        )
    rate = _rate(model, known) if rate is None else rate
    if not (np.isnan(rate) or 0 <= rate < np.inf) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"rate must be at least 0 and batch a whole number from 1, got {rate} and {batch}")
    found = symptoms.measure(
        kerasmodels.weights([model]),
        x,
        y.astype(np.int32),
        net=known.net,
        rule=known.rule,
        rate=0.0 if np.isnan(rate) else rate,
        batch=batch,
        seeds=[seed],
    )
    updates = int(model.optimizer.iterations) if getattr(model, "optimizer", None) else 0
    name = str(diagnosis.diagnose(found, known.net, known.rule, rate, updates)[0])
    return Report(found, known.net, known.rule, float(rate), updates, name)


def _rate(model: Any, known: kerasmodels.Known) -> float:
    optimiser = getattr(model, "optimizer", None)
    return float(np.asarray(optimiser.learning_rate)) if optimiser else known.rate
