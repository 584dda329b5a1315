"""Laws by which a distance grows with time: fitted to short lags, judged on long ones.

The laws meet: a saturating one is a power law with exponent 1/2 as long as the time is short against its own.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

# ln d of each law at time t, for parameters whose logarithms are a and b: both are scales above 0
LAWS = {
    "power": lambda t, a, b: a + np.exp(b) * np.log(t),  # d = e^a t^(e^b)
    "logarithmic": lambda t, a, b: a + np.log(np.log1p(t * np.exp(-b))),  # d = e^a ln(1 + t / e^b)
    # d^2 of an Ornstein-Uhlenbeck process that starts where it is: e^2a (1 - exp(-t / e^b))
    "saturating": lambda t, a, b: a + np.log(-np.expm1(-t * np.exp(-b))) / 2,
}


def _curve(lags, distances, least=0):
    t, d = np.asarray(lags, float), np.asarray(distances, float)
    fits = t.ndim == 1 and t.shape == d.shape and len(np.unique(t)) == len(t) >= least
    if not fits or not ((t > 0) & (t < np.inf)).all() or not ((d > 0) & (d < np.inf)).all():
        many = "as many, at least four" if least else "as many"
        raise ValueError(f"lags and distances must be {many}, above 0 and finite, no lag twice")
    return t, d


class Fit(NamedTuple):
    """A law fitted to distances.

    Attributes:
        scale: What multiplies the law, in units of distance.
        second: The exponent of 'power'; else the time scale, in units of the lags.
        inside: Root mean square of ln(law / measured) over the lags it was fitted to.
        outside: The same over the lags that were held out.
    """

    scale: float
    second: float
    inside: float
    outside: float


def fit(lags: np.ndarray, distances: np.ndarray, cut: float) -> dict[str, Fit]:
    """Fit each law by least squares of the logarithm to the lags up to a cut, and judge it on the others.

    Args:
        lags: Distinct times (S,), above 0 and finite.
        distances: At each of them (S,), above 0 and finite.
        cut: Last lag that is fitted; at least three lags must lie up to it and one beyond.

    Returns:
        By the names in `LAWS`.

    Raises:
        ValueError: Something above does not hold.
    """
    t, d = _curve(lags, distances)
    short = t <= cut
    if short.sum() < 3 or short.all():
        if not len(t):
            raise ValueError("lags must be at least four, got none")
        got = f"{cut:g} for lags {t.min():g} to {t.max():g}"
        raise ValueError(f"cut must leave at least three lags below and one above, got {got}")
    unit = np.exp(np.log(t).mean())  # times near 1: the starts below then fit any unit
    x, y = t / unit, np.log(d)
    result = {}
    for name, law in LAWS.items():
        power = name == "power"
        found = [
            least_squares(
                lambda p, law=law: law(x[short], *p) - y[short],
                ((y - law(x, 0.0, start))[short].mean(), start),
                bounds=((-np.inf, -23.0), (np.inf, 3.0 if power else 46.0)),
            )
            for start in ((-1.0, 0.0) if power else np.log(x.min()) + np.linspace(-2, 14, 9))
        ]
        a, b = min(found, key=lambda f: f.cost).x
        errors = law(x, a, b) - y
        scale = a - np.exp(b) * np.log(unit) if power else a
        result[name] = Fit(
            float(np.exp(scale)),
            float(np.exp(b) * (1 if power else unit)),
            *(float(np.sqrt((errors[part] ** 2).mean())) for part in (short, ~short)),
        )
    return result


class Beyond(NamedTuple):
    """The law d^2 = noise^2 + (scale t^exponent)^2: jumps that are there at once, and what grows beyond them.

    Attributes:
        noise: Distance at short times that the jumps make.
        scale: What multiplies the power of time, in units of distance.
        exponent: Of that power.
        off: Root mean square of ln(law / measured).
    """

    noise: float
    scale: float
    exponent: float
    off: float


def beyond_noise(lags: np.ndarray, distances: np.ndarray) -> Beyond:
    """Fit that law by least squares of the logarithm to all lags.

    Args:
        lags: Distinct times (S,), above 0 and finite, at least four.
        distances: At each of them (S,), above 0 and finite.

    Raises:
        ValueError: Something above does not hold.
    """
    t, d = _curve(lags, distances, least=4)
    unit, size = np.exp(np.log(t).mean()), np.exp(np.log(d).mean())
    x, y = np.log(t / unit), np.log(d / size)

    def law(p):
        return np.logaddexp(2 * p[0], 2 * (p[1] + p[2] * x)) / 2

    bounds = [-30, -30, 0], [30, 30, 3]
    found = [
        least_squares(lambda p: law(p) - y, (y.min() - low, y.max() / 2, a), bounds=bounds)
        for low in (0.1, 3.0)
        for a in (0.2, 0.5, 0.9)
    ]
    best = min(found, key=lambda f: f.cost)
    noise, scale, a = best.x
    off = float(np.sqrt(((law(best.x) - y) ** 2).mean()))
    return Beyond(float(size * np.exp(noise)), float(size * np.exp(scale) / unit**a), float(a), off)
