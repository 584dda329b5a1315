"""Laws of growth, found again from curves that were made by them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import growth

LAGS = np.round(10 ** np.linspace(1, 6, 26))


def best(fits):
    return min(fits, key=lambda name: fits[name].outside)


CURVES = {
    "power": lambda t, s, p: s * t**p,
    "logarithmic": lambda t, s, p: s * np.log1p(t / p),
    "saturating": lambda t, s, p: s * np.sqrt(-np.expm1(-t / p)),
}


@pytest.mark.parametrize(
    ("law", "scale", "second"),
    [
        ("power", 0.02, 0.5),
        ("power", 3.0, 0.07),
        ("power", 1e-4, 1.3),
        ("logarithmic", 1.5, 100.0),
        ("logarithmic", 0.1, 3e3),
        ("saturating", 2.0, 1e3),
        ("saturating", 7.0, 3e4),
    ],
)
def test_a_law_is_found_again(law, scale, second):
    fits = growth.fit(LAGS, CURVES[law](LAGS, scale, second), 1e5)
    assert best(fits) == law
    assert fits[law].scale == pytest.approx(scale, rel=1e-4)
    assert fits[law].second == pytest.approx(second, rel=1e-4)
    assert fits[law].inside < 1e-6 and fits[law].outside < 1e-6
    alike = {"power", "saturating"} if second == 0.5 else {law}  # long before it saturates, it is a root
    assert all(f.outside > 1e-3 for name, f in fits.items() if name not in alike)


@settings(deadline=None, max_examples=8)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_units_make_no_difference(length, time):
    noise = np.exp(0.05 * np.random.default_rng(3).normal(size=len(LAGS)))
    d = CURVES["power"](LAGS, 0.3, 0.4) * noise
    one, other = growth.fit(LAGS, d, 1e5), growth.fit(time * LAGS, length * d, time * 1e5)
    assert best(one) == best(other)
    assert other["power"].second == pytest.approx(one["power"].second, rel=1e-3)
    for name in growth.LAWS:
        assert other[name].inside == pytest.approx(one[name].inside, rel=1e-2)


def test_the_power_law_is_the_straight_line_of_logarithms():
    rng = np.random.default_rng(0)
    d = CURVES["power"](LAGS, 0.3, 0.4) * np.exp(0.1 * rng.normal(size=len(LAGS)))
    short = LAGS <= 1e4
    slope, offset = np.polyfit(np.log(LAGS[short]), np.log(d[short]), 1)
    found = growth.fit(LAGS, d, 1e4)["power"]
    assert found.second == pytest.approx(slope, rel=1e-4)
    assert found.scale == pytest.approx(np.exp(offset), rel=1e-3)
    errors = offset + slope * np.log(LAGS) - np.log(d)
    assert found.inside == pytest.approx(np.sqrt((errors[short] ** 2).mean()), rel=1e-3)
    assert found.outside == pytest.approx(np.sqrt((errors[~short] ** 2).mean()), rel=1e-3)


def test_what_lies_beyond_the_cut_is_not_fitted():
    d = CURVES["logarithmic"](LAGS, 1.0, 50.0)
    other = np.where(LAGS > 1e4, 9 * d, d)
    one, two = growth.fit(LAGS, d, 1e4), growth.fit(LAGS, other, 1e4)
    for name in growth.LAWS:
        assert one[name][:3] == two[name][:3]
    assert two["logarithmic"].outside == pytest.approx(np.log(9), rel=1e-4)


def test_random_walks_and_bound_walks_are_told_apart():
    """In 2000 dimensions: the free one goes as the root of time, the bound one saturates."""
    rng = np.random.default_rng(1)
    for pull in (0.0, 0.01):
        x, path = np.zeros(2000), []
        for _ in range(2000):
            x = (1 - pull) * x + rng.normal(size=2000)
            path.append(np.linalg.norm(x))
        t = np.unique(np.round(10 ** np.linspace(0, 3.3, 30)).astype(int))
        t = t[t <= 2000]
        fits = growth.fit(t, np.array(path)[t - 1], 300)
        if pull:
            assert best(fits) == "saturating"
            assert fits["saturating"].second == pytest.approx(1 / (2 * pull), rel=0.1)
        else:
            assert fits["power"].second == pytest.approx(0.5, abs=0.02)
            assert fits["power"].outside < 0.05 < fits["logarithmic"].outside
            assert fits["saturating"].second > t.max(), "not within the time that was seen"


@pytest.mark.parametrize(
    ("lags", "distances", "cut", "match"),
    [
        ([1, 2, 3], [1, 2, 3], 3, "^cut must leave at least three lags below and one above, got 3"),
        ([1, 2, 3, 4], [1, 2, 3, 4], 2, "^cut must leave"),
        ([], [], 1, "^lags must be at least four, got none"),
        ([1, 2, 2, 4], [1, 2, 3, 4], 2, "^lags and distances must"),
        ([1, 2, 3, 0], [1, 2, 3, 4], 2, "^lags and distances must"),
        ([1, 2, 3, 4], [1, 2, 3, 0], 3, "^lags and distances must"),
        ([1, 2, 3, 4], [1, 2, 3, np.nan], 3, "^lags and distances must"),
        ([1, 2, 3, np.inf], [1, 2, 3, 4], 3, "^lags and distances must"),
        ([1, 2, 3, 4], [1, 2, 3], 3, "^lags and distances must"),
    ],
)
def test_what_cannot_be_fitted_is_refused(lags, distances, cut, match):
    with pytest.raises(ValueError, match=match):
        growth.fit(lags, distances, cut)


@pytest.mark.parametrize(
    ("noise", "scale", "exponent"), [(0.3, 0.01, 0.5), (1.0, 1e-4, 0.9), (0.3, 0.1, 0.2)]
)
def test_what_grows_beyond_the_jumps_is_found_again(noise, scale, exponent):
    found = growth.beyond_noise(LAGS, np.hypot(noise, scale * LAGS**exponent))
    assert found[:3] == pytest.approx((noise, scale, exponent), rel=1e-2) and found.off < 1e-3
    pure = growth.beyond_noise(LAGS, scale * LAGS**exponent)
    assert pure.exponent == pytest.approx(exponent, rel=1e-2)


@pytest.mark.parametrize("distances", [[1.0, 2.0], [1.0, 2.0, 0.0, 3.0], [1.0, 2.0, 3.0, np.inf]])
def test_distances_that_no_jumps_fit_are_refused(distances):
    with pytest.raises(ValueError, match="lags and distances must be as many, at least four"):
        growth.beyond_noise(LAGS[: len(distances)], distances)
