"""What is read off broken networks, on cases small enough to see the answer."""

import numpy as np
import pytest

from lib import nets, train
from lib.questions import breaks


def test_a_standstill_is_that_of_a_net_that_is_partly_dead():
    scores = np.array([[10.0, 40, 41, 40], [10, 40, 42, 40], [90, 90, 90, 90], [10, 10, 10, 10]])
    digits = np.tile(np.array([[4], [4], [10], [1]]), 4)
    assert breaks.stands_still(scores, digits).tolist() == [True, False, False, False]


def test_a_source_is_matched_at_every_look_or_not_at_all():
    scores = np.array([[38.0, 33, 33, 90], [38, 33, 30.9, 33], [36.9, 34.9, 31, 0]])
    assert breaks.shows(scores, [38, 33, 33], 2).tolist() == [True, False, True]
    assert not breaks.shows(scores, [38] * 5, 99).any()


def test_the_rate_that_fits_lies_between_those_tried():
    digits = np.array([[10, 8, 2, 0], [10, 10, 9, 9], [3, 0, 0, 0], [10, 5, 6, 4], [10, 0, 9, 0]])
    found = breaks.falls_below(digits, [1, 2, 4, 8])
    np.testing.assert_allclose(found, [2**1.5, 8, 1, 4, 2**0.5])
    assert breaks.falls_below(digits, [1, 2, 4, 8], 11).tolist() == [1] * 5
    assert breaks.falls_below(digits[:, :1], [3.0]).tolist() == [3] * 5


def test_pairs_of_a_survivor_and_a_loss():
    alive = np.array([[True, True, False], [True, False, False], [True, True, True]])
    score = np.array([[3, 1, 2], [5, 5, 1], [1, 2, 3]])
    assert breaks.in_order(score, alive) == [0.5, 0.75]


def test_the_share_that_the_first_look_has_taken():
    whole = np.array([[True, True, False], [False, False, False], [True, False, False]])
    first = np.array([[True, False, True], [True, True, True], [True, True, True]])
    assert breaks.taken_by(first, whole).tolist() == [0.5, 1]


def test_the_margin_is_that_over_the_largest_other_output():
    z = np.array([[[3.0, 1, 2], [0, 0, 5], [9, 0, 4]]])
    y = np.eye(3)[[0, 0, 2]]
    assert breaks.margin(z, y).tolist() == [[(1 - 5) / 2, 0, -5]]


def test_the_wait_is_what_a_stuck_output_takes():
    """One output at z = -8 with target 1 in all images, stepped by hand."""
    h, z, rate = np.array([0.5, 1.0, 1.0]), -8.0, 10.0
    weights, steps = np.array([0, 0, z]), 0
    a = 1 / (1 + np.exp(-z))
    gradient = ((a - 1) * a * (1 - a) * h)[None, :, None]
    while weights @ h < -2:
        a = 1 / (1 + np.exp(-weights @ h))
        weights, steps = weights - rate * (a - 1) * a * (1 - a) * h, steps + 1
    assert breaks.wait(gradient, rate)[0, 0] == pytest.approx(steps, rel=0.1)
    assert breaks.wait(0 * gradient, rate)[0, 0] == np.inf


def test_the_steepest_curvature_is_that_of_the_cost():
    """Against powers of the Hessian, whose products come from differences of the engine's gradients."""
    rng = np.random.default_rng(1)
    x, y = rng.uniform(size=(40, 784)) * (rng.uniform(size=784) < 0.1), np.eye(10)[np.arange(40) % 10]
    layers = [w.numpy() for w in nets.normal([5, 6], nets.shapes((784, 4, 10)))]
    found = breaks.steepest({"layer0": layers[0], "layer1": layers[1]}, x, y)
    inputs, h, how = train.Inputs(x), 1e-5, {"hidden": "sigmoid", "loss": "quadratic"}
    v = [rng.normal(size=w.shape) for w in layers]
    for _ in range(200):
        length = np.sqrt(sum((u**2).sum(axis=(1, 2), keepdims=True) for u in v))
        v = [u / length for u in v]
        ahead, behind = (
            train.gradient([w + s * u for w, u in zip(layers, v, strict=True)], inputs, y, **how)
            for s in (h, -h)
        )
        hv = [(a.numpy() - b.numpy()) / (2 * h) for a, b in zip(ahead, behind, strict=True)]
        value = sum((a * b).sum(axis=(1, 2)) for a, b in zip(v, hv, strict=True))
        # half of itself more, so that the largest wins, not the most negative
        v = [a + 0.5 * b for a, b in zip(hv, v, strict=True)]
    np.testing.assert_allclose(found, value, rtol=0.03)
