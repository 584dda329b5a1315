"""Statistics over networks: each number comes with its interval, how many networks, and which method.

One network is one draw. Arms are paired where network i of both started from the same seed. Intervals are BCa
bootstrap intervals over networks (Efron 1987, Better bootstrap confidence intervals, JASA 82, 171-185), as
SciPy has them. Below ``FEW`` networks resampling is not honest (for normal data a 95 % BCa interval of a mean
covers 49 % at 2 and 83 % at 5), so theory for normal data stands in. ``Estimate.method`` says which was used.
"""

import math
import re
import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

RESAMPLES = 9999  # SciPy's default, for bootstrap and for permutation tests
FEW = 10  # fewest networks that are resampled; see the top of this module
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
        The value and the interval ("exact" if it has no width); whole numbers and exact values as they are.
    """
    numbers = (value, *interval)
    width, largest = interval[1] - interval[0], max(map(abs, numbers))
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


def _number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, ends: bool = True
) -> float:
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


def _resampling(seed: Any, level: Any) -> None:
    _whole("seed", seed, 0)
    _number("level", level, 0, 1, ends=False)


def _estimate(value: Any, ends: _Ends, n: int, method: str, level: float) -> Estimate:
    # rounding must not push a value out of its own interval
    low, high = min(ends[0], value), max(ends[1], value)
    return Estimate(float(value), float(low), float(high), int(n), f"{method}, {100 * level:g} %")


def _student(x: _Array, level: float, method: str = "Student t") -> Estimate:
    half = stats.t.ppf((1 + level) / 2, x.size - 1) * stats.sem(x)
    return _estimate(x.mean(), (x.mean() - half, x.mean() + half), x.size, method, level)


def _resampled(
    data: tuple[_Array, ...],
    statistic: Callable[..., Any],
    theory: Estimate,
    seed: int,
    level: float,
    paired: bool = False,
) -> Estimate:
    """The estimate of theory, with a BCa interval where resampling is honest and possible."""
    if min(x.size for x in data) < FEW:
        return theory
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # SciPy warns where BCa does not exist, which is asked for below
        found = stats.bootstrap(
            data,
            statistic,
            n_resamples=RESAMPLES,
            batch=max(1, _BATCH // max(x.size for x in data)),
            vectorized=True,
            paired=paired,
            axis=-1,
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    ends = tuple(found.confidence_interval)
    # not finite where all resamples agree, and where some have no spread to divide by
    return (
        _estimate(theory.value, ends, theory.n, "BCa bootstrap", level) if np.isfinite(ends).all() else theory
    )


def mean(x: ArrayLike, seed: int, level: float = 0.95) -> Estimate:
    """Mean over networks, with its BCa interval; Student's t below ``FEW`` networks.

    For normal data the 95 % interval covers 91 % at M = 20 and 94 % at M = 50.

    Args:
        x: one value per network, shape (M,), M at least 2, any unit.
        seed: of the resampling.
        level: confidence, above 0 and below 1.

    Returns:
        The estimate; constant data give an interval without width.

    Raises:
        ValueError: fewer than 2 values, values that are not finite, a bad seed or level.
    """
    values = _sample("x", x)
    _resampling(seed, level)
    if np.ptp(values) == 0:
        return _estimate(values[0], (values[0], values[0]), values.size, "constant", level)
    return _resampled((values,), np.mean, _student(values, level), seed, level)


def proportion(x: ArrayLike, level: float = 0.95) -> Estimate:
    """Fraction of networks for which something is true, with the exact interval of Clopper and Pearson.

    Args:
        x: whether it is true of each network, bool, shape (M,), M at least 1.
        level: confidence, above 0 and below 1.

    Returns:
        The estimate, 0 to 1; none or all of them still give an interval of some width.

    Raises:
        ValueError: values that are not bool or of another shape, a bad level.

    Source:
        Clopper & Pearson 1934; ``scipy.stats.binomtest``.
    """
    values = np.asarray(x)
    if values.dtype != bool or values.ndim != 1 or not values.size:
        raise ValueError(f"x: got {values.dtype} of shape {values.shape}, wanted one bool for each network")
    _number("level", level, 0, 1, ends=False)
    ends = stats.binomtest(int(values.sum()), values.size).proportion_ci(level, "exact")
    return _estimate(values.mean(), (ends.low, ends.high), values.size, "Clopper-Pearson", level)


def paired_difference(a: ArrayLike, b: ArrayLike, seed: int, level: float = 0.95) -> Estimate:
    """Mean of a - b over pairs of networks: ``mean`` of the differences.

    Args:
        a: one value per network, shape (M,).
        b: the other arm, same seeds in the same order, shape (M,).
        seed: of the resampling.
        level: confidence, above 0 and below 1.

    Returns:
        The estimate; swapping the arms changes its sign.

    Raises:
        ValueError: as ``mean``, and arms of different length.
    """
    one, two = _arms(a, b, paired=True)
    return mean(one - two, seed, level)


def sign_flip(a: ArrayLike, b: ArrayLike, seed: int, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the sign-flip (paired permutation) test of the mean difference.

    ``p = P(|sum s_i d_i| >= |sum d_i|)`` over signs s, d = a - b: over all 2^M when that is at most
    ``resamples``, else over that many drawn ones and the observed, so that p is at least 1 / (resamples + 1).

    Args:
        a: one value per network, shape (M,).
        b: the other arm, same seeds in the same order, shape (M,).
        seed: of the drawn signs.
        resamples: how many sign vectors, at least 1.

    Returns:
        p, above 0 and at most 1.

    Raises:
        ValueError: bad samples, arms of different length, a bad seed or number of resamples.

    Source:
        ``scipy.stats.permutation_test``, one sample, ``permutation_type="samples"``.
    """
    one, two = _arms(a, b, paired=True)
    _whole("seed", seed, 0)
    _whole("resamples", resamples, 1)
    largest = max(np.abs(one).max(), np.abs(two).max())
    # ties count, and rounding breaks them: whole multiples of 1e-12 of the largest value add up exactly
    unit = 10.0 ** (math.ceil(math.log10(largest)) - 12) if largest > 0 else 1.0
    result = stats.permutation_test(
        (np.rint((one - two) / unit),),
        lambda d, axis: np.abs(np.sum(d, axis=axis)),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _BATCH // one.size),
        alternative="greater",
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def superiority(a: ArrayLike, b: ArrayLike, seed: int, paired: bool = False, level: float = 0.95) -> Estimate:
    """P(A > B) + P(A = B) / 2 for one network of each arm, drawn independently: U / (M M').

    Args:
        a: one value per network, shape (M,).
        b: the other arm, shape (M',).
        seed: of the resampling.
        paired: resample pairs (same seeds in the same order), else each arm by itself.
        level: confidence, above 0 and below 1.

    Returns:
        The estimate; swapping the arms gives 1 - P. Where resampling cannot serve (few networks; arms that do
        not overlap) Wilson's interval over min(M, M') independent pairs, M / 2 when paired: on the safe side.

    Raises:
        ValueError: bad samples, seed or level; pairs of different length.

    Source:
        Mann & Whitney 1947, Ann. Math. Statist. 18, 50-60; the measure A of Vargha & Delaney 2000, J. Educ.
        Behav. Stat. 25, 101-132.
    """
    one, two = _arms(a, b, paired)
    _resampling(seed, level)
    # ranks among the distinct values, so that U comes from counts per rank and not from M M' pairs
    values, ranks = np.unique(np.concatenate([one, two]), return_inverse=True)
    data = ranks[: one.size], ranks[one.size :]

    def statistic(x: _Array, y: _Array, axis: int = -1) -> _Array:
        ones, twos = (_counts(z, values.size) for z in (x, y))
        return np.sum(ones * (np.cumsum(twos, axis=-1) - twos / 2), axis=-1) / (x.shape[-1] * y.shape[-1])

    value, n = float(statistic(*data)), min(one.size, two.size)
    z2 = stats.norm.isf((1 - level) / 2) ** 2 / (max(1, n // 2) if paired else n)
    half = math.sqrt(z2 * value * (1 - value) + z2**2 / 4)
    ends = tuple((value + z2 / 2 + end) / (1 + z2) for end in (-half, half))
    return _resampled(data, statistic, _estimate(value, ends, n, "Wilson", level), seed, level, paired)


def _counts(index: _Array, size: int) -> _Array:
    """How often each of 0 .. size - 1 stands in each row (last axis) of index."""
    rows = index.reshape(-1, index.shape[-1]).astype(np.int64)
    flat = rows + size * np.arange(len(rows))[:, None]
    return np.bincount(flat.ravel(), minlength=size * len(rows)).reshape(*index.shape[:-1], size)


def cohen_d(a: ArrayLike, b: ArrayLike, seed: int, paired: bool = False, level: float = 0.95) -> Estimate:
    """Difference of the means in pooled standard deviations.

    ``d = (mean a - mean b) / s``, ``s^2 = ((M - 1) s_a^2 + (M' - 1) s_b^2) / (M + M' - 2)``.

    Args:
        a: one value per network, shape (M,).
        b: the other arm, shape (M',).
        seed: of the resampling.
        paired: resample pairs (same seeds in the same order), else each arm by itself.
        level: confidence, above 0 and below 1.

    Returns:
        The estimate; swapping the arms changes its sign. Where resampling cannot serve, the interval is t
        times the error ``sqrt((M + M') / (M M') + d^2 / (2 (M + M')))``.

    Raises:
        ValueError: as ``superiority``, and when both arms are constant.

    Source:
        The error: Hedges & Olkin 1985, Statistical Methods for Meta-Analysis.
    """
    one, two = _arms(a, b, paired)
    _resampling(seed, level)
    if np.ptp(one) == 0 and np.ptp(two) == 0:
        raise ValueError("a and b: both constant, wanted at least one that varies")
    n, m = one.size, two.size

    def statistic(x: _Array, y: _Array, axis: int = -1) -> _Array:
        pooled = (n - 1) * np.var(x, axis=-1, ddof=1) + (m - 1) * np.var(y, axis=-1, ddof=1)
        return (np.mean(x, axis=-1) - np.mean(y, axis=-1)) / np.sqrt(pooled / (n + m - 2))

    value = float(statistic(one, two))
    half = stats.t.ppf((1 + level) / 2, n + m - 2) * math.sqrt((n + m) / (n * m) + value**2 / (2 * (n + m)))
    theory = _estimate(value, (value - half, value + half), min(n, m), "normal theory", level)
    return _resampled((one, two), statistic, theory, seed, level, paired)


def variance_ratio(a: ArrayLike, b: ArrayLike, seed: int, paired: bool, level: float = 0.95) -> Estimate:
    """Ratio of the variances s_a^2 / s_b^2, resampled as a logarithm; needs no normal data, unlike F.

    Args:
        a: one value per network, shape (M,).
        b: the other arm, shape (M',).
        seed: of the resampling.
        paired: resample pairs (same seeds in the same order), else each arm by itself.
        level: confidence, above 0 and below 1.

    Returns:
        The estimate; swapping the arms gives its inverse. Where resampling cannot serve, F's interval.

    Raises:
        ValueError: as ``superiority``, and when an arm is constant.
    """
    one, two = _arms(a, b, paired)
    _resampling(seed, level)
    for name, arm in (("a", one), ("b", two)):
        if np.ptp(arm) == 0:
            raise ValueError(f"{name}: constant, wanted values that vary")

    def statistic(x: _Array, y: _Array, axis: int = -1) -> _Array:
        return np.log(np.var(x, axis=-1, ddof=1)) - np.log(np.var(y, axis=-1, ddof=1))

    value = float(statistic(one, two))
    outer = np.log(stats.f.ppf(((1 + level) / 2, (1 - level) / 2), one.size - 1, two.size - 1))
    ends, n = (value - outer[0], value - outer[1]), min(one.size, two.size)
    theory = _estimate(value, ends, n, "F, normal theory", level)
    found = _resampled((one, two), statistic, theory, seed, level, paired)
    return found._replace(value=math.exp(value), low=math.exp(found.low), high=math.exp(found.high))


def power(effect: float, sd: float, n: int, level: float = 0.05) -> float:
    """Chance that the two-sided paired t test finds an effect.

    ``P(|T| > t)``, T noncentral t with n - 1 degrees of freedom and noncentrality ``|effect| sqrt(n) / sd``.

    Args:
        effect: true mean difference, any unit.
        sd: standard deviation of the differences, same unit, above 0.
        n: pairs, at least 2.
        level: significance level of the test, above 0 and below 1.

    Returns:
        The power; ``level`` at effect 0.

    Raises:
        ValueError: an argument out of its range.

    Source:
        O'Brien & Lohr 1984, as cited by SAS for the power of paired t tests.
    """
    shift = abs(_number("effect", effect)) / _number("sd", sd, 0, ends=False) * math.sqrt(_whole("n", n, 2))
    far = stats.t.isf(_number("level", level, 0, 1, ends=False) / 2, n - 1)
    # the other tail is less than Phi(-shift); SciPy 1.17 has NaN for some of those from shift 5.5 up
    return float(stats.nct.sf(far, n - 1, shift) + np.nan_to_num(stats.nct.cdf(-far, n - 1, shift)))


_power = power  # ``needed`` has an argument of that name


def needed(effect: float, sd: float, power: float = 0.8, level: float = 0.05) -> int:
    """Fewest pairs with which the two-sided paired t test has the power wanted.

    Args:
        effect: true mean difference, not 0.
        sd: standard deviation of the differences, same unit, above 0.
        power: wanted, above 0 and below 1.
        level: significance level of the test, above 0 and below 1.

    Returns:
        Pairs, at least 2.

    Raises:
        ValueError: an argument out of its range, and when more than 10^9 pairs would be needed.
    """
    wanted, enough = _number("power", power, 0, 1, ends=False), 2
    while _power(effect, sd, enough, level) < wanted:
        enough *= 2
        if enough > 10**9:
            raise ValueError(f"effect: got {effect!r} at sd {sd!r}, wanted one that 10^9 pairs can show")
    return 2 + bisect_left(range(2, enough), wanted, key=lambda n: _power(effect, sd, n, level))


def welch_from_summary(
    mean1: float, sd1: float, n1: int, mean2: float, sd2: float, n2: int, ddof: int = 0, level: float = 0.95
) -> Estimate:
    """Difference of the published means of two independent arms, with Welch's interval.

    ``mean1 - mean2 -+ t sqrt(v1 + v2)``, ``v = sd^2 / (n - 1)`` for sd as ``numpy.std`` gives it (ddof 0) and
    ``sd^2 / n`` for ddof 1; t has ``(v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1))`` degrees of freedom.

    Args:
        mean1: mean of the first arm, any unit.
        sd1: its standard deviation, at least 0.
        n1: its networks, at least 2.
        mean2: mean of the second arm.
        sd2: its standard deviation, at least 0.
        n2: its networks, at least 2.
        ddof: 0 or 1: the published standard deviations divide by n - ddof.
        level: confidence, above 0 and below 1.

    Returns:
        The estimate, in the unit of the means.

    Raises:
        ValueError: an argument out of its range, and when both standard deviations are 0, or no more than
            1e-12 of the larger mean: the rounding of values that are all alike.

    Source:
        Satterthwaite 1946, Biometrics Bull. 2, 110-114; Welch 1947, Biometrika 34, 28-35.
    """
    difference = _number("mean1", mean1) - _number("mean2", mean2)
    _number("level", level, 0, 1, ends=False)
    if ddof not in (0, 1):
        raise ValueError(f"ddof: got {ddof!r}, wanted 0 or 1")
    v1 = _number("sd1", sd1, 0) ** 2 / (_whole("n1", n1, 2) - 1 + ddof)
    v2 = _number("sd2", sd2, 0) ** 2 / (_whole("n2", n2, 2) - 1 + ddof)
    if max(sd1, sd2) <= 1e-12 * max(abs(mean1), abs(mean2)) or v1 + v2 == 0:
        raise ValueError(f"sd1 and sd2: got {sd1!r} and {sd2!r}, wanted one above 0 by more than rounding")
    freedom = (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))
    half = stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(v1 + v2)
    return _estimate(difference, (difference - half, difference + half), min(n1, n2), "Welch t", level)


def split_variance(correct: NDArray[np.bool_], seed: int, level: float = 0.95) -> Spread:
    """Splits the variance of accuracy between networks into test-set noise and true variance.

    With p_i the share of all networks that get image i right, exactly, on these N images::

        Var(accuracy) = sum_i p_i (1 - p_i) / N^2  +  sum_{i != j} Cov(i, j) / N^2
            total     =         test_noise         +     (1 - 1 / N) networks

    ``test_noise`` is what independent errors would give. ``networks`` is the mean covariance of two different
    images: for images drawn at random an unbiased estimate of the variance of accuracy on endless images.

    Args:
        correct: whether network m gets image i right, bool, shape (M, N), M at least 3, N at least 2.
        seed: of the resampling.
        level: confidence, above 0 and below 1.

    Returns:
        Variances of accuracy as a share (1e-4 is one point squared), each a mean over pairs of networks and
        unbiased; so ``networks`` can come out below 0. Intervals speak of other networks on these images:
        those of ``mean`` for the jackknife's pseudo-values, which cover 91 % to 97 % at 20 networks and more.

    Raises:
        ValueError: ``correct`` is not such an array; a bad seed or level.

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
    def over(pairs: _Array) -> Estimate:
        found = mean(pairs.mean() + 2 * (m - 1) / (m - 2) * (pairs - pairs.mean()), seed, level)
        return found._replace(method=f"{found.method}, of jackknife pseudo-values")

    return Spread(over(total), over(noise), over(n / (n - 1) * (total - noise)))


def across(estimates: Sequence[Estimate], level: float = 0.95) -> Across:
    """An effect over subsets of the data: its mean with Student's interval, and how often it is positive.

    The subsets are the draws: the interval holds the variation between them, not the estimates' own ones.

    Args:
        estimates: one for each of S subsets, at least 2.
        level: confidence, above 0 and below 1.

    Returns:
        Mean over subsets (its n is S), subsets with an effect above 0, and S.

    Raises:
        ValueError: fewer than 2 estimates, values that are not finite, a bad level.
    """
    values = _sample("estimates", [estimate.value for estimate in estimates])
    _number("level", level, 0, 1, ends=False)
    over = _student(values, level, "Student t over subsets")
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
    adjusted = np.empty(values.size)
    stepped = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    adjusted[order] = np.minimum(1, stepped)
    return adjusted
