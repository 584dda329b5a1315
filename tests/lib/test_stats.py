"""Statistics: closed forms and brute force, the source's derived numbers, laws, bad input."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from lib import stats
from lib.stats import Estimate

# the post's two printed lines: mean and np.std (ddof 0) of 400 networks each
WHOLE, LAYERWISE = (0.87867, 0.00274425), (0.876439, 0.00234411)


def generator(seed=0):
    return np.random.default_rng(seed)


def arms(n=60, seed=0, shared=0.5):
    rng = generator(seed)
    start = rng.normal(size=n)
    a = 0.5 + shared * start + rng.normal(size=n)
    return a, shared * start + rng.normal(size=n)


def normal_scores(mean, sd, n=400):
    x = reference.norm.ppf((np.arange(n) + 0.5) / n)
    return mean + sd * (x - x.mean()) / x.std()


# ---- the numbers that follow from what the post prints


def test_difference_of_the_published_means():
    found = stats.welch_from_summary(*WHOLE, 400, *LAYERWISE, 400)
    assert found.value == pytest.approx(0.00223, abs=1e-6)
    # 0.188 to 0.258 points is the normal interval with sd / sqrt(n) ...
    plain = 1.959964 * math.hypot(WHOLE[1], LAYERWISE[1]) / math.sqrt(400)
    assert [round(100 * (found.value + s * plain), 3) for s in (-1, 1)] == [0.188, 0.258]
    # ... and Student's t, with sd of ddof 0 put right, is wider by 1e-4 points at either end
    assert 100 * np.array(found.interval) == pytest.approx([0.1876, 0.2586], abs=5e-5)
    assert found.n == 400


def test_effect_size_superiority_and_variance_ratio_of_the_published_arms():
    a, b = normal_scores(*WHOLE), normal_scores(*LAYERWISE)
    assert round(stats.cohen_d(a, b, 1).value, 2) == 0.87
    assert round(stats.variance_ratio(a, b, 1, paired=False).value, 2) == 1.37
    found = stats.superiority(a, b, 1)
    assert found.value == pytest.approx(0.732, abs=2e-3)
    assert found.low < 0.732 < found.high


# ---- means and differences


def test_mean_of_many_is_the_normal_interval():
    x = generator(3).normal(7, 2, 2000)
    found, error = stats.mean(x, 1), x.std(ddof=1) / math.sqrt(2000)
    assert found.value == pytest.approx(x.mean())
    ends = x.mean() + 1.96 * error * np.array([-1, 1])
    assert np.array(found.interval) == pytest.approx(ends, abs=0.1 * error)
    assert (found.n, found.method) == (2000, "Student t and bootstrap t, 95 %")


DRAWS = {  # a sample of n of each, its true mean, and what one value can be
    "normal": (lambda rng, n: rng.normal(size=n), 0, None),
    "exponential": (lambda rng, n: rng.exponential(size=n), 1, None),
    "lognormal": (lambda rng, n: rng.lognormal(size=n), math.exp(0.5), None),
    "one in ten at 0.5": (lambda rng, n: 0.5 * (rng.random(n) < 0.1), 0.05, (0, 1)),
    "counts, mostly 0": (lambda rng, n: rng.binomial(10, rng.beta(0.1, 1, n)), 10 / 11, (0, 10)),
}


def coverage(draw, truth, interval, samples=300):
    found = [interval(draw()) for _ in range(samples)]
    return np.mean([e.low <= truth <= e.high for e in found])


@pytest.mark.parametrize(
    ("data", "n", "least"),
    [("normal", 5, 0.94), ("exponential", 5, 0.87), ("lognormal", 5, 0.82), ("lognormal", 8, 0.90)]
    + [(data, n, least) for data, least in (("normal", 0.95), ("exponential", 0.94)) for n in (8, 100)]
    + [(data, n, 0.95) for data in ("one in ten at 0.5", "counts, mostly 0") for n in (4, 100)],
)
def test_interval_of_the_mean_covers_as_often_as_it_says(data, n, least, monkeypatch):
    monkeypatch.setattr(stats, "RESAMPLES", 399)
    (draw, truth, within), rng = DRAWS[data], generator(4)
    seen = coverage(lambda: draw(rng, n), truth, lambda x: stats.mean(x, 1, within=within))
    assert seen > least - 3 * math.sqrt(least * (1 - least) / 300)


@pytest.mark.parametrize(("right", "n"), [(0, 3), (1, 8), (3, 8), (40, 80), (80, 80)])
def test_gaffkes_interval_of_yes_and_no_is_clopper_and_pearsons(right, n):
    x = np.arange(n) < right
    found = stats.mean(100.0 * x, 1, within=(0, 100))
    assert found.interval == pytest.approx(tuple(100 * e for e in stats.proportion(x).interval))
    assert found.method == "Gaffke, 95 %"


def test_gaffkes_interval_of_more_than_two_values():
    # the upper end is where a mean as low as this has a chance of 2.5 %, by the weights' simulation
    x, rng = np.array([0, 0, 0, 0, 0, 3, 10.0]), generator(30)
    weights = rng.dirichlet(np.ones(8), 100_000)
    ends = [np.quantile(weights @ [*x, bound], share) for bound, share in ((0, 0.025), (10, 0.975))]
    found = stats.mean(x, 1, within=(0, 10))
    assert found.interval == pytest.approx(tuple(ends), rel=0.1)  # a quantile of 9999 draws
    turned = stats.paired_difference(np.zeros(7), x, 1, within=(-10, 0))
    assert turned.interval == pytest.approx((-found.high, -found.low), rel=0.1)


def test_ends_lie_within_what_is_possible():
    found = stats.mean([0.90, 0.95, 0.99], 1, within=(0, 1))
    assert (found.high, found.method) == (1, "Student t, 95 %")
    assert stats.mean([0.4, 0.5], 1, within=(0, 1)).method == "Student t, 95 %"
    differences = np.full(9, 0.98) - np.full(9, 0.97) + 1e-16 * np.arange(9)  # equal but for rounding
    assert stats.mean(differences, 1, within=(-1, 1)).method == "Gaffke, 95 %"


def test_mean_leans_with_the_skew():
    found = stats.mean(generator(5).exponential(1, 50), 1)
    assert found.high - found.value > 1.1 * (found.value - found.low)


def test_few_networks_get_students_interval():
    x = generator(6).normal(size=5)
    found = stats.mean(x, 1)
    assert found.method == "Student t, 95 %"
    assert found.interval == pytest.approx(tuple(reference.ttest_1samp(x, 0).confidence_interval()))
    assert stats.mean([1.0, 3.0], 1, level=0.5).interval == pytest.approx((1, 3))  # t = 1 at 1 degree


def test_constant_data_say_nothing_of_other_networks():
    for n in (2, 30):
        found = stats.mean(np.full(n, 0.3), 1)
        assert (found.value, *found.interval) == (pytest.approx(0.3), -stats.UNKNOWN, stats.UNKNOWN)
        within = stats.mean(np.full(n, 0.3), 1, within=(0, 1))
        assert within.low < 0.3 < within.high


def test_level_widens_and_seed_decides():
    x = generator(7).normal(size=50)
    narrow, wide = stats.mean(x, 1, level=0.5), stats.mean(x, 1, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.method == "Student t and bootstrap t, 99 %"
    assert stats.mean(x, 1) == stats.mean(x, 1) != stats.mean(x, 2)


def test_pairing_takes_out_what_the_arms_share():
    a, b = arms(shared=5)
    found = stats.paired_difference(a, b, 1)
    assert found == stats.mean(a - b, 1)
    assert found.high - found.low < 0.4 * (stats.mean(a, 1).high - stats.mean(a, 1).low)


# ---- tests


@pytest.mark.parametrize(
    "d", [(1, 2, 3, -1), (0.1, 0.2, 0.3, 0.4), (1, 1, -1, -1), (3, -1, -1, -1), (0, 0, 0, 2)]
)
def test_sign_flip_counts_all_signs_of_four(d):
    b = np.array([0.87, 0.88, 0.86, 0.85])
    signs = np.array(list(itertools.product((-1, 1), repeat=4)))
    by_hand = np.mean(np.abs(signs @ d) >= abs(sum(d)) - 1e-9)
    assert stats.sign_flip(b + d, b, 1) == by_hand


def test_sign_flip_sees_ties_through_rounding():
    # counts of 10000 images: every difference is one image, though not to the last bit
    hits = np.array([1003, 2111, 3221, 4447, 5519, 6673, 8761])
    assert len(set((hits + 1) / 10_000 - hits / 10_000)) > 1
    assert stats.sign_flip((hits + 1) / 10_000, hits / 10_000, 1) == 2 / 2**7
    flips = np.array([1, 1, 1, 1, 1, -1, -1])
    by_hand = reference.binomtest(5, 7).pvalue
    assert stats.sign_flip((hits + flips) / 10_000, hits / 10_000, 1) == pytest.approx(by_hand)


def test_sign_flip_of_many_is_near_the_t_test():
    a, b = arms(200, seed=3)
    a = a - a.mean() + b.mean() + 0.16
    assert stats.sign_flip(a, b, 1) == pytest.approx(reference.ttest_rel(a, b).pvalue, abs=0.01)
    assert stats.sign_flip(a + 9, b, 1) == 1 / (stats.RESAMPLES + 1)


def test_sign_flip_of_no_difference():
    assert stats.sign_flip([1, 2, 3], [1, 2, 3], 1) == 1
    assert stats.sign_flip([0, 0], [0, 0], 1) == 1


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.9]) == pytest.approx([1, 1])
    assert stats.holm([0.2]) == pytest.approx([0.2])


# ---- power


@pytest.mark.parametrize(("effect", "n"), [(0.5, 20), (-0.5, 20), (1.0, 5), (0.2, 100)])
def test_power_against_simulation(effect, n):
    draws = generator(9).normal(effect, 1, (20_000, n))
    seen = np.mean(reference.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)
    assert stats.power(effect, 1, n) == pytest.approx(seen, abs=4 * math.sqrt(0.25 / 20_000))


def test_power_at_its_ends():
    assert stats.power(0, 1, 7) == pytest.approx(0.05)
    for effect in (3, 20, 50, 1e4):
        assert stats.power(effect, 1, 6) == pytest.approx(1, abs=1e-2)
    assert stats.power(0.02, 0.03, 11) == pytest.approx(stats.power(2, 3, 11))


@pytest.mark.parametrize("effect", [0.05, 0.3, -0.8, 2, 100])
def test_needed_is_the_fewest(effect):
    n = stats.needed(effect, 1)
    assert stats.power(effect, 1, n) >= 0.8
    assert n == 2 or stats.power(effect, 1, n - 1) < 0.8
    assert stats.needed(0.5, 1) == 34  # a textbook's case: d = 0.5, 5 %, 80 %


# ---- effect sizes


@pytest.mark.parametrize("n, m", [(7, 7), (25, 31)])
def test_superiority_is_the_share_of_pairs(n, m):
    rng = generator(10)
    a, b = rng.integers(0, 6, n) / 10, rng.integers(0, 5, m) / 10
    found = stats.superiority(a, b, 1)
    assert found.value == pytest.approx(reference.mannwhitneyu(a, b).statistic / (n * m))
    assert found.n == min(n, m)


def test_superiority_interval_is_that_of_the_placements():
    # DeLong's variance of U / nm from the placements of each network in the other arm
    a, b = arms(400, shared=0)
    wins = (a[:, None] > b).astype(float)
    error = math.sqrt(wins.mean(1).var(ddof=1) / 400 + wins.mean(0).var(ddof=1) / 400)
    found = stats.superiority(a, b, 1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_superiority_of_arms_that_do_not_overlap_is_not_certain():
    for n, paired, pairs in ((20, False, 20), (20, True, 10), (2, True, 1)):
        found = stats.superiority(np.arange(n) + 100, np.arange(n), 1, paired=paired)
        assert (found.value, found.method) == (1, "Wilson, 95 %")
        assert found.interval == pytest.approx((1 / (1 + 1.959964**2 / pairs), 1))


def test_a_value_lies_in_its_interval_to_the_last_bit():
    for n in range(2, 40):
        for found in (stats.superiority(np.arange(n) + s, np.arange(n) - s, 1) for s in (n, -n)):
            assert found.low <= found.value <= found.high


@pytest.mark.parametrize("measure", [stats.superiority, stats.cohen_d, stats.variance_ratio])
def test_pairs_that_go_together_narrow_the_interval(measure):
    a, b = arms(200, shared=3)
    apart, together = (measure(a, b, 1, paired=paired) for paired in (False, True))
    assert together.value == apart.value
    assert together.high - together.low < 0.8 * (apart.high - apart.low)


def test_cohen_d_by_hand_and_its_error():
    found = stats.cohen_d([1, 2, 3], [0, 2, 4, 6], 1)
    assert found.value == pytest.approx(-1 / math.sqrt((2 * 1 + 3 * 20 / 3) / 5))
    assert stats.cohen_d([1, 2], [0, 4], 1).method == "normal theory, 95 %"
    a, b = normal_scores(0.8, 1), normal_scores(0, 1)
    error = math.sqrt(2 / 400 + 0.8**2 / 1600)
    assert np.array(stats.cohen_d(a, b, 1).interval) == pytest.approx(
        0.8 + 1.96 * error * np.array([-1, 1]), abs=0.15 * error
    )


def test_variance_ratio_of_normal_data_is_near_f():
    rng = generator(11)
    a, b = rng.normal(0, 2, 600), rng.normal(0, 1, 600)
    found = stats.variance_ratio(a, b, 1, paired=False)
    assert found.value == pytest.approx(a.var() / b.var())
    f = found.value / reference.f.ppf([0.975, 0.025], 599, 599)
    assert np.array(found.interval) == pytest.approx(f, rel=0.05)


@pytest.mark.parametrize("n", [16, 100])
@pytest.mark.parametrize(
    ("measure", "data", "truth", "least"),
    [
        (stats.superiority, "normal", 0.5, 0.95),
        (stats.superiority, "lognormal", 0.5, 0.95),
        (stats.cohen_d, "normal", 0, 0.95),
        (stats.cohen_d, "exponential", 0, 0.93),
        (stats.variance_ratio, "normal", 1, 0.94),
        (stats.variance_ratio, "lognormal", 1, 0.88),
    ],
)
def test_effect_sizes_cover(measure, data, truth, least, n):
    draw, rng, paired = DRAWS[data][0], generator(12), (n == 16) == (data == "normal")
    seen = coverage(lambda: (draw(rng, n), draw(rng, n)), truth, lambda x: measure(*x, 1, paired))
    assert seen > least - 3 * math.sqrt(least * (1 - least) / 300)


@pytest.mark.parametrize("n", [2, 3, 9, 12])
def test_small_and_lumpy_arms_still_have_finite_intervals(n):
    a, b = np.zeros(n), np.arange(n) % 2 + 0.0
    a[0] = 1  # most resamples of a have no spread
    for found in (
        stats.mean(a, 1),
        stats.paired_difference(a, b, 1),
        stats.superiority(a, b, 1),
        stats.superiority(np.ones(n), np.ones(n), 1),
        stats.superiority(a, b, 1, paired=True),
        stats.cohen_d(a, b, 1),
        stats.cohen_d(a, b, 1, paired=True),
        stats.variance_ratio(a, b, 1, paired=True),
    ):
        assert np.isfinite(found[:3]).all()
        assert found.low <= found.value <= found.high
    # without one of its networks an arm has no spread
    assert stats.variance_ratio(a, a[::-1], 1, paired=False).method == "F, normal theory, 95 %"
    for alone, paired in ((2 * a + 3, True), (np.ones(n), False)):
        assert stats.cohen_d(a, alone, 1, paired=paired).method == "normal theory, 95 %"


@pytest.mark.parametrize("n", [6, 40])
@pytest.mark.parametrize("paired", [False, True])
def test_swapping_the_arms(n, paired):
    a, b = arms(n)
    loose = {"rel": 0.03, "abs": 0.01}  # unpaired arms are drawn in another order
    for measure, mirrored in (
        (stats.superiority, lambda v: 1 - v),
        (stats.cohen_d, lambda v: -v),
        (stats.variance_ratio, lambda v: 1 / v),
    ):
        one, two = measure(a, b, 1, paired=paired), measure(b, a, 1, paired=paired)
        assert two.value == pytest.approx(mirrored(one.value))
        assert two.interval == pytest.approx((mirrored(one.high), mirrored(one.low)), **loose)
    one, two = stats.paired_difference(a, b, 1), stats.paired_difference(b, a, 1)
    assert two[:3] == pytest.approx((-one.value, -one.high, -one.low))
    assert stats.sign_flip(a, b, 1) == stats.sign_flip(b, a, 1)


def test_shift_and_scale():
    a, b = arms(40)
    c, d = 3 * a + 8, 3 * b + 8
    for measure in (stats.superiority, stats.cohen_d):
        assert measure(c, d, 1)[:3] == pytest.approx(measure(a, b, 1)[:3])
    assert stats.variance_ratio(c, d, 1, True)[:3] == pytest.approx(stats.variance_ratio(a, b, 1, True)[:3])
    one, two = stats.paired_difference(a, b, 1), stats.paired_difference(c, d, 1)
    assert np.array(two[:3]) == pytest.approx(3 * np.array(one[:3]))
    assert stats.sign_flip(c, d, 1) == stats.sign_flip(a, b, 1)


def test_welch_is_welch():
    a, b = arms(30)
    b = 3 * b[:12]
    theirs = reference.ttest_ind(a, b, equal_var=False).confidence_interval()
    ours = stats.welch_from_summary(a.mean(), a.std(), 30, b.mean(), b.std(), 12)
    assert ours.interval == pytest.approx(tuple(theirs))


@pytest.mark.parametrize("value", [0.1, 87.3, 1e-9])
def test_the_rounding_of_values_that_are_all_alike_is_no_standard_deviation(value):
    alike = np.full(97, value)
    for sd in (np.std(alike), abs(value) * 1e-14, 0):
        with pytest.raises(ValueError, match="^sd1 and sd2: .* above 0 by more than rounding"):
            stats.welch_from_summary(alike.mean(), sd, 97, alike.mean() / 2, sd, 97)
    found = stats.welch_from_summary(value, sd, 97, value / 2, value / 10, 12)  # one may be alike
    half = reference.t.ppf(0.975, 11) * value / 10 / math.sqrt(11)
    assert found.high - found.value == pytest.approx(half)


# ---- the split of the variance


def networks_with(p, slope, members, rng):
    """Networks of quality g, uniform with variance 1; image i is right with chance p_i + g slope_i.

    Across networks image i is then right with chance p_i, and images i, j have covariance slope_i slope_j.
    """
    g = rng.uniform(-math.sqrt(3), math.sqrt(3), members)
    return rng.random((members, len(p))) < p + g[:, None] * slope


def true_split(p, slope):
    n = len(p)
    noise = np.sum(p * (1 - p)) / n**2
    covariance = (slope.sum() ** 2 - np.sum(slope**2)) / n**2
    return np.array([noise + covariance, noise, covariance * n / (n - 1)])


def test_split_against_all_covariances():
    correct = networks_with(np.linspace(0.3, 0.7, 9), np.full(9, 0.1), 14, generator(14))
    found = stats.split_variance(correct, 1)
    covariance = np.cov(correct.T.astype(float))
    assert found.total.value == pytest.approx(np.var(correct.mean(axis=1), ddof=1))
    assert found.test_noise.value == pytest.approx(np.trace(covariance) / 9**2)
    assert found.networks.value == pytest.approx(covariance[~np.eye(9, dtype=bool)].mean())
    jordan = 9 / 8 * (found.total.value - found.test_noise.value)
    assert found.networks.value == pytest.approx(jordan)
    assert found.total.value == pytest.approx(found.test_noise.value + 8 / 9 * found.networks.value)
    assert {e.n for e in found} == {14}


@pytest.fixture
def without_intervals(monkeypatch):
    """Means without the resampling, for simulations that look at values alone."""
    monkeypatch.setattr(stats, "mean", lambda x, *_: Estimate(*[x.mean()] * 3, len(x), "none, 95 %"))


def test_split_is_unbiased_and_the_rival_formulas_are_not(without_intervals):
    p, slope, rng = np.array([0.5, 0.6, 0.4, 0.7, 0.5]), np.array([0.25, 0.2, 0.15, 0.1, 0.2]), generator(15)
    draws = [networks_with(p, slope, 8, rng) for _ in range(2000)]
    found = np.array([[e.value for e in stats.split_variance(correct, 1)] for correct in draws])
    off = (found.mean(axis=0) - true_split(p, slope)) / (found.std(axis=0) / math.sqrt(len(found)))
    assert np.all(np.abs(off) < 4)
    # without n / (n - 1), and with p_i (1 - p_i) put in as it is seen in 8 networks
    plain = 4 / 5 * found[:, 2]
    by_image = np.array([np.var(correct, axis=0).sum() for correct in draws])
    seen = 5 / 4 * (found[:, 0] - by_image / 25)
    for rival in (plain, seen):
        assert abs(rival.mean() - true_split(p, slope)[2]) > 6 * rival.std() / math.sqrt(len(rival))


def test_split_finds_the_variance_on_endless_images(without_intervals):
    # images drawn anew each time; on endless ones a network's accuracy is E p + g E slope
    rng, found = generator(16), []
    for _ in range(1500):
        easy = rng.random(6) < 0.5
        correct = networks_with(np.where(easy, 0.8, 0.5), np.where(easy, 0.05, 0.25), 8, rng)
        found.append([e.value for e in stats.split_variance(correct, 1)])
    total, _, networks = np.mean(found, axis=0)
    error = np.std(found, axis=0)[2] / math.sqrt(len(found))
    assert abs(networks - 0.15**2) < 4 * error
    assert total > 0.15**2 + 10 * error  # Jordan's Theorem 1: the test set's variance is too large


def test_split_intervals_cover(monkeypatch):
    monkeypatch.setattr(stats, "RESAMPLES", 499)
    rng = generator(17)
    p = rng.uniform(0.3, 0.95, 80)
    slope = np.minimum(0.04, 0.5 * (1 - p))
    truth, covered = true_split(p, slope), np.zeros(3)
    for _ in range(200):
        found = stats.split_variance(networks_with(p, slope, 50, rng), 1)
        covered += [e.low <= t <= e.high for e, t in zip(found, truth, strict=True)]
    assert np.all(covered / 200 > 0.87)  # 95 % less 5 standard errors
    assert np.all(covered / 200 < 0.995)


def test_split_of_independent_errors_leaves_nothing_for_the_networks():
    rng = generator(18)
    p = rng.beta(4, 0.6, 10_000)
    found = stats.split_variance(rng.random((500, 10_000)) < p, 1)
    assert found.networks.low < 0 < found.networks.high
    assert found.test_noise.value == pytest.approx(np.sum(p * (1 - p)) / 1e8, rel=0.01)
    assert found.test_noise.value < p.mean() * (1 - p.mean()) / 10_000 / 1.2
    assert found.total.method == "Student t and bootstrap t, of jackknife pseudo-values, 95 %"


def test_split_of_networks_that_agree():
    alike = stats.split_variance(np.tile([True, False, True], (5, 1)), 1)
    assert [e[:3] for e in alike] == [(0, 0, 1 / 4), (0, 0, 1 / 4), (0, -1 / 4, 1 / 4)]
    # each network all right or all wrong: no noise of its own beyond that of the networks
    found = stats.split_variance(np.repeat([[True], [False], [True], [True]], 50, axis=1), 1)
    assert found.networks.value == pytest.approx(found.total.value) == pytest.approx(1 / 4)


def test_split_does_not_ask_for_the_order():
    correct = networks_with(np.full(30, 0.6), np.full(30, 0.1), 20, generator(19))
    shuffled = generator(20).permuted(np.arange(30))
    assert stats.split_variance(correct[:, shuffled], 1) == stats.split_variance(correct, 1)
    assert [e.value for e in stats.split_variance(correct[::-1], 1)] == pytest.approx(
        [e.value for e in stats.split_variance(correct, 1)]
    )
    # accuracies and error rates vary alike
    right, wrong = (stats.split_variance(either, 1) for either in (correct, ~correct))
    assert [e.value for e in right] == pytest.approx([e.value for e in wrong])
    assert [e.high for e in right] == pytest.approx([e.high for e in wrong], rel=0.01)


# ---- over subsets


def effect(value):
    return Estimate(value, value - 1, value + 1, 9, "Student t, 95 %")


def test_across_subsets():
    values = [0.2, 0.3, 0.1, 0.25, 0.4, -0.05]
    found = stats.across([effect(v) for v in values])
    assert found.mean.interval == pytest.approx(tuple(reference.ttest_1samp(values, 0).confidence_interval()))
    assert (found.mean.n, found.positive, found.subsets) == (6, 5, 6)
    nothing = stats.across([effect(0), effect(0)])
    assert (nothing.positive, nothing.mean.interval) == (0, (-stats.UNKNOWN, stats.UNKNOWN))


# ---- bad input


GOOD = [1.0, 2.0, 3.0]
RIGHT = np.eye(3, dtype=bool)


@pytest.mark.parametrize(
    ("call", "given", "named"),
    [
        *((stats.mean, (x, 1), "x") for x in (
            [1.0], [], 5, [GOOD, GOOD], [1, math.nan], [1, math.inf], ["1", "2"], [1, None], [1, 2j],
        )),
        *((stats.mean, (GOOD, seed), "seed") for seed in (None, -1, 1.5, True)),
        *((stats.mean, (GOOD, 1, level), "level") for level in (95, 1)),
        *((stats.mean, (x, 1, 0.95, within), "within") for x, within in ((GOOD, (0, 2.9)), ([1, 1], (1, 1)))),
        (stats.paired_difference, (GOOD, [1, 2], 1), "a and b"),
        (stats.paired_difference, (GOOD, [1, 2, math.nan], 1), "b"),
        (stats.sign_flip, (GOOD, [1, 2], 1), "a and b"),
        (stats.sign_flip, (GOOD, GOOD, -1), "seed"),
        (stats.superiority, (GOOD, [1, 2], 1, True), "a and b"),
        (stats.superiority, (GOOD, GOOD, "1"), "seed"),
        (stats.cohen_d, ([1, 1], [2, 2], 1), "a and b"),
        (stats.cohen_d, (GOOD, [2], 1), "b"),
        (stats.variance_ratio, ([1, 1], GOOD, 1, False), "a"),
        (stats.variance_ratio, (GOOD, [1, 1], 1, False), "b"),
        *((stats.power, given, named) for given, named in (
            ((math.nan, 1, 5), "effect"), ((1, 0, 5), "sd"), ((1, 1, 1), "n"),
        )),
        *((stats.needed, given, named) for given, named in (
            ((0, 1), "effect"), ((1, -1), "sd"),
        )),
        *((stats.welch_from_summary, given, named) for given, named in (
            ((math.inf, 1, 5, 1, 1, 5), "mean1"), ((1, -1, 5, 1, 1, 5), "sd1"), ((1, 1, 5, 1, 1, 1), "n2"),
            ((1, 0, 5, 1, 0, 5), "sd1 and sd2"),
        )),
        *((stats.split_variance, (x, 1), "correct") for x in (
            RIGHT.astype(float), RIGHT[:2], RIGHT[:, :1], RIGHT[0],
        )),
        (stats.split_variance, (RIGHT, -1), "seed"),
        *((stats.across, (x,), "estimates") for x in ([effect(1)], [effect(1), effect(math.nan)])),
        *((stats.holm, (p,), "p") for p in ([], [0.5, 1.1], [0.5, math.nan], ["0.5"])),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, given, named):
    with pytest.raises(ValueError, match=rf"^{named}: "):
        call(*given)


@pytest.mark.parametrize(("k", "n"), [(0, 100), (3, 20), (20, 20), (1, 1)])
def test_proportion_is_the_exact_binomial_interval(k, n):
    """Its ends are where k or more, and k or fewer, have a chance of 2.5 %: quantiles of beta laws."""
    found = stats.proportion(np.arange(n) < k)
    assert found.value == k / n and found.n == n
    low = reference.beta.ppf(0.025, k, n - k + 1) if k else 0
    high = reference.beta.ppf(0.975, k + 1, n - k) if k < n else 1
    assert found.interval == pytest.approx((low, high))


@pytest.mark.parametrize("x", [[0, 1], [True, None], [[True]], [], True])
def test_proportion_wants_one_bool_for_each_network(x):
    with pytest.raises(ValueError, match="wanted one bool for each network"):
        stats.proportion(x)


# ---- estimates as text and in other units

GAP = Estimate(0.2231, 0.1948, 0.2514, 500, "Student t")


@pytest.mark.parametrize(
    ("found", "form", "text"),
    [
        (GAP, "", "0.223 (0.195 to 0.251)"),
        (GAP, " points", "0.223 points (0.195 to 0.251)"),
        (GAP, " %", "0.223 % (0.195 to 0.251)"),
        (GAP, "n", "0.223 (0.195 to 0.251, n = 500)"),
        (GAP, "n points of it", "0.223 points of it (0.195 to 0.251, n = 500)"),
        (GAP, ".1f", "0.2"), (GAP, "+.2f", "+0.22"), (GAP, "g", "0.2231"), (GAP, ".0%", "22%"),
        (GAP, "6.2f", "  0.22"),
        (-GAP, "", "−0.223 (−0.251 to −0.195)"),
        (-GAP, ".1f", "−0.2"), (-GAP, ".0f", "0"), (-GAP, "e", "−2.231000e−01"),
        (0 * -GAP, " points", "0 points (exact)"),
        (100 * GAP, "n %", "22.3 % (19.5 to 25.1, n = 500)"),
        (Estimate(3, 2, 5, 9, "count") * 2, "n", "6 (4 to 10, n = 9)"),
    ],
)  # fmt: skip
def test_an_estimate_is_told_with_its_interval_its_unit_and_n(found, form, text):
    """Also after it was turned round or scaled."""
    assert format(found, form) == text


def test_a_form_that_is_none_is_refused():
    for form in ("points", "nets", ".1q"):
        with pytest.raises(ValueError, match="Invalid format specifier|Unknown format code"):
            format(GAP, form)


@pytest.mark.parametrize("number", [int, float, np.float64, np.float32, np.int64, np.int8])
def test_a_number_times_an_estimate_scales_value_and_interval(number):
    for factor in (number(100), -number(2)):
        for found in (factor * GAP, GAP * factor):
            assert type(found) is Estimate and found[3:] == GAP[3:]
            assert found.value == pytest.approx(float(factor) * GAP.value)
            assert found.low <= found.value <= found.high
            assert found.high - found.low == pytest.approx(abs(float(factor)) * (GAP.high - GAP.low))
            assert {type(end) for end in found[:3]} == {float}
    turned = -GAP
    assert -turned == GAP and turned.interval == (-GAP.high, -GAP.low)


@pytest.mark.parametrize("other", [GAP, "2", None, True, [2], np.array([1.0, 2.0])])
def test_an_estimate_is_scaled_by_numbers_only(other):
    for product in (lambda: GAP * other, lambda: other * GAP):
        with pytest.raises(TypeError, match="an estimate is scaled by a number, got"):
            product()


@pytest.mark.parametrize(
    ("value", "interval", "texts"),
    [
        (0.951234, (0.945, 0.9573), ("0.951", "0.945 to 0.957")),
        (1.25, (1.0, 1.5), ("1.25", "1.00 to 1.50")),
        (12.3456, (2.0, 30.0), ("12", "2 to 30")),
        (1234.5, (1000.2, 1500.7), ("1234", "1000 to 1501")),
        (-0.001, (-0.5, 0.5), ("0.0", "−0.5 to 0.5")),
        (-3.14159, (-3.2, -3.1), ("−3.14", "−3.20 to −3.10")),
        (1.234e-9, (1.1e-9, 1.4e-9), ("1.23e−09", "1.10e−09 to 1.40e−09")),
        (1.234e12, (1e12, 2e12), ("1.2e+12", "1.0e+12 to 2.0e+12")),
        (3, (3, 3), ("3", "exact")),
        (3, (2, 40), ("3", "2 to 40")),
        (0.25, (0.25, 0.25), ("0.25", "exact")),
        (0, (0, 0), ("0", "exact")),
        (-0.0, (-0.0, 0.0), ("0", "exact")),
        (25.0, (-1e11, 1e11), ("25", "interval unknown")),
    ],
)
def test_decimals_follow_the_width(value, interval, texts):
    assert stats.shown(value, interval) == texts


@given(st.floats(-1e8, 1e8), st.floats(0, 1e8), st.floats(0, 1e8))
def test_shown_numbers_are_within_a_tenth_of_the_width(value, below, above):
    interval = (value - below, value + above)
    text, span = stats.shown(value, interval)
    width = interval[1] - interval[0]
    if width > 1e-12 * max(1, *map(abs, interval)):
        ends = [float(t.replace("−", "-")) for t in (text, *span.split(" to "))]
        for got, true in zip(ends, (value, *interval), strict=True):
            assert abs(got - true) <= width / 10
    else:
        assert float(text.replace("−", "-")) == pytest.approx(value, rel=1e-6, abs=1e-12)
