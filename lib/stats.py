"""Statistics over networks: each number comes with its interval, how many networks, and which method.

One network is one draw. Arms are paired where network i of both started from the same seed. How often each
interval covers the truth was simulated at the numbers of networks that the chapters use: the docstrings say
it, the page on notation has the table, and the tests hold it. ``Estimate.method`` says which interval it is.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

LEVEL = 0.95  # of all intervals but those of ``mean`` and ``paired_difference``, which take any
RESAMPLES = 9999  # drawn for an interval or a permutation test
FEW = 8  # fewest networks that are resampled: below, an interval of resampling is of twice the width
UNKNOWN = 1e9  # ends of the interval where the data say nothing about the mean
ALPHA = 0.05  # of the test whose power is told
POWER = 0.8  # that `needed` wants
_EQUAL = 1e-11  # of the largest value: what differs by less differs by rounding
_BATCH = 250_000  # numbers held at once while resampling: memory and speed, not results

_Ends = tuple[float, float]
_Array = NDArray[Any]


class Estimate(NamedTuple):
    """A value with its interval (95 % unless another level was asked for); n networks in the smaller arm.

    As text, ``f"{gap}"`` is ``0.22 (0.19 to 0.25)``, with as many decimals as the interval bears. After the
    colon stand ``n`` for the number of networks, and a unit after a space: ``f"{gap:n points}"`` is ``0.22
    points (0.19 to 0.25, n = 500)``. Any other format is that of the value alone. ``-gap`` turns value and
    interval round; a number times an estimate scales both.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    __array_ufunc__ = None  # a number of NumPy times an estimate is left to the estimate

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return self.low, self.high

    def __format__(self, form: str) -> str:
        """The estimate as text, see above."""
        count, unit = form.startswith("n"), form.removeprefix("n")
        if unit and not unit.startswith(" "):
            return _signed(format(self.value, form))
        value, interval = shown(self.value, self.interval)
        if self.low == self.high and self.value % 1:  # no width says nothing about digits
            value = _signed(f"{self.value:.4g}")
        return f"{value}{unit} ({interval}{f', n = {self.n}' * count})"

    def __mul__(self, factor: float) -> "Estimate":
        """The estimate in another unit; TypeError for what is no number."""
        if not isinstance(factor, Real) or isinstance(factor, bool):
            raise TypeError(f"an estimate is scaled by a number, got {factor!r}")
        factor = factor.item() if isinstance(factor, np.generic) else factor  # those of few bits lose digits
        ends = sorted((self.low * factor, self.high * factor))
        return Estimate(self.value * factor, *ends, self.n, self.method)

    __rmul__ = __mul__

    def __neg__(self) -> "Estimate":
        """The estimate of the opposite."""
        return self * -1


def _signed(text: str) -> str:
    """A number without a sign where it is zero, else with the sign that typesetters use."""
    return (text.lstrip("-") if not re.search("[1-9in]", text) else text).replace("-", "−")


def shown(value: float, interval: Sequence[float]) -> tuple[str, str]:
    """A value and its interval as text, with as many decimals as the interval's width supports.

    Args:
        value: the measured value.
        interval: (lower end, upper end).

    Returns:
        The value and the interval ("exact" if it has no width, "interval unknown" if it is that of
        ``UNKNOWN``); whole numbers and exact values as they are.
    """
    numbers = (value, *interval)
    width, largest = interval[1] - interval[0], max(map(abs, numbers))
    if UNKNOWN <= interval[1] == -interval[0]:  # as ``mean`` has it where the data say nothing
        return _signed(f"{value:.4g}"), "interval unknown"
    if all(isinstance(v, int) for v in numbers):
        form = "d"
    elif width == 0:
        form = ".12g"
    else:
        decimals = 1 - math.floor(math.log10(width))
        form = f".{max(0, decimals)}f"
        if decimals > 6 or largest >= 1e7:
            form = f".{min(15, max(1, math.floor(math.log10(largest)) + decimals))}e"
    texts = [_signed(format(v, form)) for v in numbers]
    return texts[0], f"{texts[1]} to {texts[2]}" if width else "exact"


class Spread(NamedTuple):
    """What the variance of accuracy between networks is made of: see ``split_variance``."""

    total: Estimate
    test_noise: Estimate
    networks: Estimate


class Across(NamedTuple):
    """An effect over several subsets of the data: see ``across``."""

    mean: Estimate
    positive: int
    subsets: int


def _number(name: str, value: Any, low: float = -np.inf, high: float = np.inf, ends: bool = True) -> float:
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or not (low <= value <= high if ends else low < value < high):
        wanted = f"from {low} to {high}" if ends else f"above {low} and below {high}"
        raise ValueError(f"{name}: got {value!r}, wanted a finite number {wanted}")
    return float(value)


def _whole(name: str, value: Any, low: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name}: got {value!r}, wanted a whole number from {low} up")
    return int(value)


def _sample(name: str, x: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(x)
    if values.dtype.kind not in "biuf" or values.ndim != 1 or values.size < 2:
        got = f"{values.dtype} of shape {values.shape}"
        raise ValueError(f"{name}: got {got}, wanted a row of at least 2 numbers")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: got {np.sum(~np.isfinite(values))} that are not finite, wanted none")
    return values.astype(np.float64)


def _arms(a: ArrayLike, b: ArrayLike, paired: bool) -> tuple[_Array, _Array]:
    one, two = _sample("a", a), _sample("b", b)
    if paired and one.size != two.size:
        raise ValueError(f"a and b: got {one.size} and {two.size} networks, wanted pairs")
    return one, two


def _estimate(value: Any, ends: _Ends, n: int, method: str, level: float = LEVEL) -> Estimate:
    # rounding must not push a value out of its own interval
    low, high = min(ends[0], value), max(ends[1], value)
    return Estimate(float(value), float(low), float(high), int(n), f"{method}, {100 * level:g} %")


def _half(error: float, freedom: float, level: float = LEVEL) -> float:
    """Half the width of Student's interval."""
    return float(stats.t.ppf((1 + level) / 2, freedom) * error)


def _about(x: _Array, seed: int, level: float) -> tuple[_Ends, str]:
    """Ends of the interval of a mean, and its method; the values are not all alike."""
    center, error = x.mean(), stats.sem(x)
    half = _half(error, x.size - 1, level)
    if x.size < FEW:
        return (center - half, center + half), "Student t"
    rng, deviations, t = np.random.default_rng(seed), x - center, []
    most = max(1, _BATCH // x.size)
    for start in range(0, RESAMPLES, most):
        many = min(most, RESAMPLES - start)
        drawn = deviations[rng.integers(x.size, size=(many, x.size))]
        off, errors = drawn.mean(axis=1), stats.sem(drawn, axis=1)
        with np.errstate(all="ignore"):  # a resample without spread is endlessly many errors off
            t.append(off / np.where(errors > 1e-9 * error, errors, 0))
    row = np.sort(np.nan_to_num(np.concatenate(t), posinf=np.inf, neginf=-np.inf))
    tail = int((1 - level) / 2 * row.size)
    low, high = center - error * row[-1 - tail], center - error * row[tail]
    if not math.isfinite(high - low):  # nearly all values are equal: resampling knows no more than t
        return (center - half, center + half), "Student t"
    return (min(low, center - half), max(high, center + half)), "Student t and bootstrap t"


def _gaffke(x: _Array, counts: _Array, within: _Ends, seed: int, level: float) -> _Ends:
    """Ends of Gaffke's interval of a mean of values within bounds.

    The upper end is a quantile of the mean of the values and the upper bound with random weights, uniform
    over all that add up to 1; the lower end likewise with the lower bound.
    """
    ends = []
    for bound, share in zip(within, ((1 - level) / 2, (1 + level) / 2), strict=True):
        at = np.abs(x - bound) <= _EQUAL * np.abs(within).max()
        points, weights = (x, counts + at) if at.any() else (np.append(x, bound), np.append(counts, 1))
        if points.size == 1:  # all of them lie at the bound
            ends.append(bound)
        elif points.size == 2:
            far = share if points[0] < points[1] else 1 - share
            ends.append(points[0] + (points[1] - points[0]) * stats.beta.ppf(far, *weights[::-1]))
        else:
            drawn = np.random.default_rng(seed).standard_gamma(weights, (RESAMPLES, points.size))
            ends.append(np.quantile(drawn @ points / drawn.sum(axis=1), share))
    return float(ends[0]), float(ends[1])


def _bounds(x: _Array, within: Sequence[float] | None) -> _Ends | None:
    if within is None:
        return None
    low, high = (_number("within", end) for end in within)
    room = 1e-9 * (high - low)  # of rounding
    if not low < high or x.min() < low - room or x.max() > high + room:
        raise ValueError(f"within: got {within!r} for {x.min():g} to {x.max():g}, wanted ends around them")
    return low, high


def mean(x: ArrayLike, seed: int, level: float = LEVEL, within: Sequence[float] | None = None) -> Estimate:
    """Mean over networks, with an interval that covers it.

    * Below ``FEW`` networks Student's t, from there the wider of Student's t and the bootstrap t at either
      end. At the level 95 % this covers 94 to 97 % of normal and exponential data at 8 to 500 networks, and
      90 to 97 % of lognormal ones. Student's t at 4 or 5: 94 % of normal data, 87 % of exponential and 82 %
      of lognormal ones.
    * If at least half of the values, two or more, are one and the same, and ``within`` says what is possible:
      Gaffke's interval, which is Clopper and Pearson's where all values lie at the bounds. It covered 95 % or
      more of all data tried, at 4 networks and at 500, and is never without width.
    * The mean of data with rare values far from all others (breakdowns, one in ten) is covered only if the
      sample has some of them: in 66 % of samples of 10, 87 % of 20, 95 % from 32 up. What a sample without
      breakdowns says of their chance, ``proportion`` tells.

    Args:
        x: one value per network, shape (M,), M at least 2, any unit.
        seed: of the resampling.
        level: confidence, above 0 and below 1.
        within: smallest and largest possible value of one network, same unit; None if there are none. Needed
            where a sample may be nearly constant: without it, data that are all alike get an interval of plus
            and minus ``UNKNOWN``, and data of which most are alike are covered too rarely (one in ten at 0.5,
            the others at 0: 88 % at 32 networks).

    Returns:
        The estimate; its interval lies within ``within``.

    Raises:
        ValueError: fewer than 2 values, values that are not finite or not within, a bad seed or level.

    Source:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 12.5 (bootstrap t). Gaffke 2005,
        Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable,
        Math. Meth. Statist. 14, 451-467, as Learned-Miller & Thomas 2019, arXiv 1905.06208, have it.
    """
    values = _sample("x", x)
    _whole("seed", seed, 0)
    _number("level", level, 0, 1, ends=False)
    bounds, center = _bounds(values, within), values.mean()
    unit = _EQUAL * max(np.abs(values).max(), *np.abs(bounds or (0, 0))) or 1
    _, first, counts = np.unique(np.rint((values - values[0]) / unit), return_index=True, return_counts=True)
    if bounds is None and first.size == 1:
        ends, method = (-UNKNOWN, UNKNOWN), "all alike, nothing known beyond"
    elif bounds is None or 2 * counts.max() < values.size or counts.max() == 1:
        ends, method = _about(values, seed, level)
    else:
        ends, method = _gaffke(values[first], counts, bounds, seed, level), "Gaffke"
    low, high = np.clip(ends, *(bounds or (-np.inf, np.inf)))
    return _estimate(center, (low, high), values.size, method, level)


def proportion(x: ArrayLike) -> Estimate:
    """Fraction of networks for which something is true, with the exact interval of Clopper and Pearson.

    Args:
        x: whether it is true of each network, bool, shape (M,), M at least 1.

    Returns:
        The estimate, 0 to 1; none or all of them still give an interval of some width.

    Raises:
        ValueError: values that are not bool or of another shape.

    Source:
        Clopper & Pearson 1934; ``scipy.stats.binomtest``.
    """
    values = np.asarray(x)
    if values.dtype != bool or values.ndim != 1 or not values.size:
        raise ValueError(f"x: got {values.dtype} of shape {values.shape}, wanted one bool for each network")
    ends = stats.binomtest(int(values.sum()), values.size).proportion_ci(LEVEL, "exact")
    return _estimate(values.mean(), (ends.low, ends.high), values.size, "Clopper-Pearson")


def paired_difference(
    a: ArrayLike, b: ArrayLike, seed: int, level: float = LEVEL, within: Sequence[float] | None = None
) -> Estimate:
    """Mean of a - b over pairs of networks: ``mean`` of the differences.

    Args:
        a: one value per network, shape (M,).
        b: the other arm, same seeds in the same order, shape (M,).
        seed: of the resampling.
        level: confidence, above 0 and below 1.
        within: smallest and largest possible difference, as in ``mean``.

    Returns:
        The estimate; swapping the arms changes its sign.

    Raises:
        ValueError: as ``mean``, and arms of different length.
    """
    one, two = _arms(a, b, paired=True)
    return mean(one - two, seed, level, within)


def sign_flip(a: ArrayLike, b: ArrayLike, seed: int) -> float:
    """Two-sided p of the sign-flip (paired permutation) test of the mean difference.

    ``p = P(|sum s_i d_i| >= |sum d_i|)`` over signs s, d = a - b: over all 2^M when that is at most
    ``RESAMPLES``, else over that many drawn ones and the observed, so that p is at least 1 / (RESAMPLES + 1).

    Args:
        a: one value per network, shape (M,).
        b: the other arm, same seeds in the same order, shape (M,).
        seed: of the drawn signs.

    Returns:
        p, above 0 and at most 1.

    Raises:
        ValueError: bad samples, arms of different length, a bad seed.

    Source:
        ``scipy.stats.permutation_test``, one sample, ``permutation_type="samples"``.
    """
    one, two = _arms(a, b, paired=True)
    _whole("seed", seed, 0)
    largest = max(np.abs(one).max(), np.abs(two).max())
    # ties count, and rounding breaks them: whole multiples of 1e-12 of the largest value add up exactly
    unit = 10.0 ** (math.ceil(math.log10(largest)) - 12) if largest > 0 else 1.0
    result = stats.permutation_test(
        (np.rint((one - two) / unit),),
        lambda d, axis: np.abs(np.sum(d, axis=axis)),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH // one.size),
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def superiority(a: ArrayLike, b: ArrayLike, seed: int, paired: bool = False) -> Estimate:
    """P(A > B) + P(A = B) / 2 for one network of each arm, drawn independently: U / (M M').

    The interval is Student's, of the log odds, with DeLong's error: the spread of each network's share of
    wins. It covers 94 % or more at 5 to 500 networks, of skewed data as well (simulated up to a P of 0.98).

    Args:
        a: one value per network, shape (M,).
        b: the other arm, shape (M',).
        seed: a whole number; nothing is drawn.
        paired: whether network i of both arms started alike; else the arms are independent.

    Returns:
        The estimate; swapping the arms gives 1 - P. Where no network's share of wins differs from another's
        (arms that do not overlap) Wilson's interval over min(M, M') independent pairs, M / 2 when paired.

    Raises:
        ValueError: bad samples or seed; pairs of different length.

    Source:
        Mann & Whitney 1947, Ann. Math. Statist. 18, 50-60; the measure A of Vargha & Delaney 2000, J. Educ.
        Behav. Stat. 25, 101-132. The error: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837-845.
    """
    one, two = _arms(a, b, paired)
    _whole("seed", seed, 0)
    wins, losses = _below(one, two), _below(two, one)
    value, n = float(wins.mean()), min(one.size, two.size)
    error, freedom = _error(wins, losses - 1, paired)
    if 0 < value < 1 and error > 0:
        odds = math.log(value / (1 - value))
        half = _half(error / (value * (1 - value)), freedom)
        ends, method = tuple(special.expit((odds - half, odds + half))), "Student t of the log odds"
    else:
        z2 = stats.norm.isf((1 - LEVEL) / 2) ** 2 / (max(1, n // 2) if paired else n)
        half = math.sqrt(z2 * value * (1 - value) + z2**2 / 4)
        ends = tuple((value + z2 / 2 + end) / (1 + z2) for end in (-half, half))
        method = "Wilson"
    return _estimate(value, ends, n, method)


def _below(x: _Array, y: _Array) -> _Array:
    """For each of x the share of y below it, equal ones counted half."""
    row = np.sort(y)
    return (np.searchsorted(row, x, "left") + np.searchsorted(row, x, "right")) / (2 * y.size)


def _error(x: _Array, y: _Array, paired: bool) -> tuple[float, float]:
    """Standard error of mean x less mean y, and its degrees of freedom (Welch's, of two arms).

    It is not finite where x or y is not.
    """
    with np.errstate(invalid="ignore"):
        if paired:
            return float(stats.sem(x - y)), x.size - 1
        return _welch(np.var(x, ddof=1) / x.size, x.size, np.var(y, ddof=1) / y.size, y.size)


def _welch(v1: float, n1: int, v2: float, n2: int) -> tuple[float, float]:
    """Standard error of the difference of two means of these squared errors, and its degrees of freedom."""
    if v1 + v2 == 0:
        return 0.0, 1.0
    return math.sqrt(v1 + v2), float((v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1)))


def _without(x: _Array) -> tuple[_Array, _Array]:
    """Mean and variance of a sample without each of its values in turn; NaN for fewer than three."""
    n, off = x.size, x - x.mean()
    squares = np.maximum(np.sum(off**2) - off**2 * n / (n - 1), 0)
    squares[squares <= 1e-12 * np.sum(off**2)] = 0  # rounding
    return x.mean() - off / (n - 1), squares / (n - 2) if n > 2 else np.full(n, np.nan)


def cohen_d(a: ArrayLike, b: ArrayLike, seed: int, paired: bool = False) -> Estimate:
    """Difference of the means in pooled standard deviations.

    ``d = (mean a - mean b) / s``, ``s^2 = ((M - 1) s_a^2 + (M' - 1) s_b^2) / (M + M' - 2)``. The interval is
    Student's, with the jackknife's error. At 5 to 500 networks it covers 94 to 98 % of normal data, 92 to
    96 % of exponential and 84 to 95 % of lognormal ones.

    Args:
        a: one value per network, shape (M,).
        b: the other arm, shape (M',).
        seed: a whole number; nothing is drawn.
        paired: whether network i of both arms started alike; else the arms are independent.

    Returns:
        The estimate; swapping the arms changes its sign. Where the jackknife cannot serve (2 networks; arms
        that are constant but for one) t times the error ``sqrt((M + M') / (M M') + d^2 / (2 (M + M')))``.

    Raises:
        ValueError: as ``superiority``, and when both arms are constant.

    Source:
        Miller 1974, The jackknife: a review, Biometrika 61, 1-15. The other error: Hedges & Olkin 1985,
        Statistical Methods for Meta-Analysis.
    """
    one, two = _arms(a, b, paired)
    _whole("seed", seed, 0)
    if np.ptp(one) == 0 and np.ptp(two) == 0:
        raise ValueError("a and b: both constant, wanted at least one that varies")
    n, m = one.size, two.size
    ours, theirs = (one.mean(), one.var(ddof=1)), (two.mean(), two.var(ddof=1))

    def d(x: Any, n: int, y: Any, m: int) -> Any:
        with np.errstate(all="ignore"):
            return (x[0] - y[0]) / np.sqrt(((n - 1) * x[1] + (m - 1) * y[1]) / (n + m - 2))

    value = float(d(ours, n, theirs, m))
    if paired:
        jackknife = _error((n - 1) * d(_without(one), n - 1, _without(two), m - 1), np.zeros(n), paired)
    else:
        ones = (n - 1) * d(_without(one), n - 1, theirs, m)
        jackknife = _error(ones, (m - 1) * d(ours, n, _without(two), m - 1), paired)
    half = _half(math.sqrt((n + m) / (n * m) + value**2 / (2 * (n + m))), n + m - 2)
    theory = _estimate(value, (value - half, value + half), min(n, m), "normal theory")
    return _jackknifed(jackknife, theory)


def _jackknifed(jackknife: tuple[float, float], theory: Estimate) -> Estimate:
    """The estimate of theory, with Student's interval where the jackknife has an error (and its freedom)."""
    error, freedom = jackknife
    if not math.isfinite(error) or error == 0:
        return theory
    half = _half(error, freedom)
    ends = theory.value - half, theory.value + half
    return _estimate(theory.value, ends, theory.n, "Student t, jackknife")


def variance_ratio(a: ArrayLike, b: ArrayLike, seed: int, paired: bool) -> Estimate:
    """Ratio of the variances s_a^2 / s_b^2; needs no normal data, unlike F.

    The interval is Student's for its logarithm, with the jackknife's error. At 5 to 500 networks it covers
    94 to 97 % of normal data, 88 to 95 % of exponential and 85 to 94 % of lognormal ones.

    Args:
        a: one value per network, shape (M,).
        b: the other arm, shape (M',).
        seed: a whole number; nothing is drawn.
        paired: whether network i of both arms started alike; else the arms are independent.

    Returns:
        The estimate; swapping the arms gives its inverse. Where the jackknife cannot serve (2 networks; an
        arm that is constant but for one) F's interval.

    Raises:
        ValueError: as ``superiority``, and when an arm is constant.

    Source:
        Miller 1968, Jackknifing variances, Ann. Math. Statist. 39, 567-582.
    """
    one, two = _arms(a, b, paired)
    _whole("seed", seed, 0)
    for name, arm in (("a", one), ("b", two)):
        if np.ptp(arm) == 0:
            raise ValueError(f"{name}: constant, wanted values that vary")
    value = float(np.log(np.var(one, ddof=1)) - np.log(np.var(two, ddof=1)))
    outer = np.log(stats.f.ppf(((1 + LEVEL) / 2, (1 - LEVEL) / 2), one.size - 1, two.size - 1))
    theory = _estimate(value, tuple(value - outer), min(one.size, two.size), "F, normal theory")
    with np.errstate(all="ignore"):
        shares = [(x.size - 1) * np.log(_without(x)[1]) for x in (one, two)]
        found = _jackknifed(_error(*shares, paired), theory)
    return found._replace(value=math.exp(value), low=math.exp(found.low), high=math.exp(found.high))


def power(effect: float, sd: float, n: int) -> float:
    """Chance that the two-sided paired t test at the level ``ALPHA`` finds an effect.

    ``P(|T| > t)``, T noncentral t with n - 1 degrees of freedom and noncentrality ``|effect| sqrt(n) / sd``.

    Args:
        effect: true mean difference, any unit.
        sd: standard deviation of the differences, same unit, above 0.
        n: pairs, at least 2.

    Returns:
        The power; ``ALPHA`` at effect 0.

    Raises:
        ValueError: an argument out of its range.

    Source:
        O'Brien & Lohr 1984, as cited by SAS for the power of paired t tests.
    """
    shift = abs(_number("effect", effect)) / _number("sd", sd, 0, ends=False) * math.sqrt(_whole("n", n, 2))
    far = stats.t.isf(ALPHA / 2, n - 1)
    # the other tail is less than Phi(-shift); SciPy 1.17 has NaN for some of those from shift 5.5 up
    return float(stats.nct.sf(far, n - 1, shift) + np.nan_to_num(stats.nct.cdf(-far, n - 1, shift)))


def needed(effect: float, sd: float) -> int:
    """Fewest pairs with which the two-sided paired t test has the power ``POWER``.

    Args:
        effect: true mean difference, not 0.
        sd: standard deviation of the differences, same unit, above 0.

    Returns:
        Pairs, at least 2.

    Raises:
        ValueError: an argument out of its range, and when more than 10^9 pairs would be needed.
    """
    enough = 2
    while power(effect, sd, enough) < POWER:
        enough *= 2
        if enough > 10**9:
            raise ValueError(f"effect: got {effect!r} at sd {sd!r}, wanted one that 10^9 pairs can show")
    return 2 + bisect_left(range(2, enough), POWER, key=lambda n: power(effect, sd, n))


def welch_from_summary(mean1: float, sd1: float, n1: int, mean2: float, sd2: float, n2: int) -> Estimate:
    """Difference of the published means of two independent arms, with Welch's interval.

    ``mean1 - mean2 -+ t sqrt(v1 + v2)``, ``v = sd^2 / (n - 1)`` for sd as ``numpy.std`` gives it (ddof 0);
    t has ``(v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1))`` degrees of freedom.

    Args:
        mean1: mean of the first arm, any unit.
        sd1: its standard deviation, at least 0.
        n1: its networks, at least 2.
        mean2: mean of the second arm.
        sd2: its standard deviation, at least 0.
        n2: its networks, at least 2.

    Returns:
        The estimate, in the unit of the means.

    Raises:
        ValueError: an argument out of its range, and when both standard deviations are 0, or no more than
            1e-12 of the larger mean: the rounding of values that are all alike.

    Source:
        Satterthwaite 1946, Biometrics Bull. 2, 110-114; Welch 1947, Biometrika 34, 28-35.
    """
    difference = _number("mean1", mean1) - _number("mean2", mean2)
    v1 = _number("sd1", sd1, 0) ** 2 / (_whole("n1", n1, 2) - 1)
    v2 = _number("sd2", sd2, 0) ** 2 / (_whole("n2", n2, 2) - 1)
    if max(sd1, sd2) <= 1e-12 * max(abs(mean1), abs(mean2)) or v1 + v2 == 0:
        raise ValueError(f"sd1 and sd2: got {sd1!r} and {sd2!r}, wanted one above 0 by more than rounding")
    half = _half(*_welch(v1, n1, v2, n2))
    return _estimate(difference, (difference - half, difference + half), min(n1, n2), "Welch t")


def split_variance(correct: NDArray[np.bool_], seed: int) -> Spread:
    """Splits the variance of accuracy between networks into test-set noise and true variance.

    With p_i the share of all networks that get image i right, exactly, on these N images::

        Var(accuracy) = sum_i p_i (1 - p_i) / N^2  +  sum_{i != j} Cov(i, j) / N^2
            total     =         test_noise         +     (1 - 1 / N) networks

    ``test_noise`` is what independent errors would give. ``networks`` is the mean covariance of two different
    images: for images drawn at random an unbiased estimate of the variance of accuracy on endless images.

    Args:
        correct: whether network m gets image i right, bool, shape (M, N), M at least 3, N at least 2.
        seed: of the resampling.

    Returns:
        Variances of accuracy as a share (1e-4 is one point squared), each a mean over pairs of networks and
        unbiased; so ``networks`` can come out below 0. Intervals speak of other networks on these images:
        those of ``mean`` for the jackknife's pseudo-values, which cover 94 % to 97 % at 16 networks and more.

    Raises:
        ValueError: ``correct`` is not such an array; a bad seed.

    Source:
        Jordan, On the Variance of Neural Network Training with respect to Test Sets and Distributions, ICLR
        2024, arXiv 2304.01910: Theorem 2 (equation 3) for ``networks``, Definition 1 for ``test_noise``.
        Pseudo-values do not understate the spread: Efron & Stein 1981, Ann. Statist. 9, 586-596.
    """
    right = np.asarray(correct)
    if right.dtype != np.bool_ or right.ndim != 2 or right.shape[0] < 3 or right.shape[1] < 2:
        got = f"{right.dtype} of shape {right.shape}"
        raise ValueError(f"correct: got {got}, wanted bool, at least 3 networks by 2 images")
    m, n = right.shape
    per_image, hits = right.sum(axis=0), right.sum(axis=1)
    # images a network gets right together with each of all M (itself too), summed: no M^2 pairs are kept
    shared = np.array([per_image[row].sum() for row in right])
    # for each network, means over the others: of half the squared difference in accuracy, and of half the
    # images in dispute, per N^2
    away = hits - hits.mean()
    total = (m * away**2 + np.sum(away**2)) / (2 * n**2 * (m - 1))
    noise = (m * hits + hits.sum() - 2 * shared) / (2 * n**2 * (m - 1))

    # Not the networks themselves are resampled: one drawn twice makes pairs that do not differ, and the
    # interval of test_noise then covers 16 % to 50 %.
    def over(pairs: _Array, least: float = 0) -> Estimate:
        found = mean(pairs.mean() + 2 * (m - 1) / (m - 2) * (pairs - pairs.mean()), seed)
        # no variance or covariance of numbers from 0 to 1 is larger than 1 / 4
        ends = max(found.low, least), min(found.high, 1 / 4)
        method = f"{found.method.rpartition(',')[0]}, of jackknife pseudo-values"
        return _estimate(found.value, ends, m, method)

    return Spread(over(total), over(noise), over(n / (n - 1) * (total - noise), -1 / 4))


def across(estimates: Sequence[Estimate]) -> Across:
    """An effect over subsets of the data: its mean with Student's interval, and how often it is positive.

    The subsets are the draws: the interval holds the variation between them, not the estimates' own ones.

    Args:
        estimates: one for each of S subsets, at least 2.

    Returns:
        Mean over subsets (its n is S), subsets with an effect above 0, and S.

    Raises:
        ValueError: fewer than 2 estimates, values that are not finite.
    """
    values = _sample("estimates", [estimate.value for estimate in estimates])
    center, half = values.mean(), UNKNOWN
    if np.ptp(values) > 0:
        half = _half(stats.sem(values), values.size - 1)
    over = _estimate(center, (center - half, center + half), values.size, "Student t over subsets")
    return Across(over, int(np.sum(values > 0)), values.size)


def holm(p: Sequence[float]) -> NDArray[np.float64]:
    """P-values adjusted so that a family of tests has one false alarm or more at most at the level tested.

    The i-th smallest of m becomes ``max over j <= i of min(1, (m - j + 1) p_j)``, whatever their dependence.

    Args:
        p: p-values, 0 to 1, shape (m,), m at least 1.

    Returns:
        Adjusted p-values in the order given, shape (m,).

    Raises:
        ValueError: no p, or one outside 0 to 1.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 65-70.
    """
    values = np.asarray(p)
    row = values.dtype.kind in "iuf" and values.ndim == 1 and values.size > 0
    if not row or not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"p: got {p!r}, wanted a row of numbers from 0 to 1")
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    return np.minimum(1, stepped)[np.argsort(order)]
