"""Measures of trained networks against closed forms and NumPy."""

import numpy as np
import pytest

from lib import diagnose, nets
from lib.backend import tf


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_norms_and_distances_are_euclidean_and_count_the_biases():
    a = [np.zeros((2, 3, 2)), np.zeros((2, 3, 1))]
    a[0][0, 0, 0], a[0][0, 2, 1] = 3, 4  # the second is a bias
    a[1][1] = 2
    result = diagnose.norms([tf.constant(x) for x in a])
    np.testing.assert_allclose(result, [[5, 0], [0, np.sqrt(12)]])
    b, c = ([tf.constant(normal(2, 3, 2, seed=s)), tf.constant(normal(2, 3, 1, seed=s))] for s in (1, 2))
    wanted = [[np.linalg.norm((x - y).numpy()[m]) for x, y in zip(b, c, strict=True)] for m in range(2)]
    np.testing.assert_allclose(diagnose.distances(b, c), wanted)
    assert (diagnose.distances(b, b) == 0).all()
    with pytest.raises(ValueError):
        diagnose.distances(b, c[:1])


@pytest.mark.parametrize("size", [0, 1e-37, 1e-25, 1e25, 3e37])
def test_norms_of_tiny_and_of_huge_parameters(size):
    """Though their squares are none of float32."""
    a = tf.constant(np.full((2, 3, 3), size, np.float32))
    for found in (diagnose.norms([a]), diagnose.distances([2 * a], [a])):
        np.testing.assert_allclose(found, np.full((2, 1), 3 * np.float32(size), np.float32), rtol=1e-6)
    for value in (np.nan, np.inf):
        ill = tf.constant([[[value, size]], [[size, size]]], tf.float32)
        for found in (diagnose.norms([ill]), diagnose.distances([ill], [tf.zeros_like(ill)])):
            assert not np.isfinite(found[0, 0]) and np.isfinite(found[1, 0])


def test_slope_is_the_mean_derivative_of_tanh():
    z = normal(3, 8, 5)
    step = 1e-6
    numeric = (np.tanh(z + step) - np.tanh(z - step)) / (2 * step)
    result = diagnose.slope(
        [tf.tanh(tf.constant(z)), tf.zeros((3, 8, 2), tf.float64), tf.ones((3, 8, 4), tf.float64)]
    )
    np.testing.assert_allclose(result[:, 0], numeric.mean(axis=(1, 2)), rtol=1e-8)
    assert (result[:, 1] == 1).all()  # at rest
    assert (result[:, 2] == 0).all()  # saturated


def test_deviation_is_the_standard_deviation_of_each_unit():
    a = sigmoid(normal(3, 200, 5))
    a[0, :, 1], a[0, :, 2], a[1, :, 0] = 1, 0, 0.5  # stuck: at both ends, or in between
    a[2, :, 3] = np.where(np.arange(200) < 20, 1, 0)
    result = diagnose.deviation(tf.constant(a))
    assert result.shape == (3, 5)
    np.testing.assert_allclose(result, a.std(axis=1), rtol=1e-12)
    assert result[0, 1] == result[0, 2] == result[1, 0] == 0
    assert result[2, 3] == pytest.approx(np.sqrt(0.1 * 0.9))  # on for one image in ten


def test_sigmoid_slope_is_the_mean_derivative_over_the_largest():
    z, step = 3 * normal(3, 50, 4), 1e-6
    numeric = (sigmoid(z + step) - sigmoid(z - step)) / (2 * step)
    result = diagnose.sigmoid_slope(tf.sigmoid(tf.constant(z)))
    np.testing.assert_allclose(result, 4 * numeric.mean(axis=1), rtol=1e-8)
    ends = np.stack([np.full((6, 2), v) for v in (0.5, 0, 1)])
    assert diagnose.sigmoid_slope(tf.constant(ends)).tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("measure", [diagnose.deviation, diagnose.sigmoid_slope])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_unit_that_is_not_finite_stays_alone(measure, bad):
    a = np.random.default_rng(0).random((3, 20, 4))
    clean = measure(tf.constant(a))
    a[1, 7, 2] = bad
    result = measure(tf.constant(a))
    others = np.ones((3, 4), bool)
    others[1, 2] = False
    assert np.array_equal(result[others], clean[others])
    assert not np.isfinite(result[1, 2])
    assert measure is not diagnose.deviation or np.isnan(result[1, 2])


def test_dimension_is_the_participation_ratio_of_the_eigenvalues():
    h = normal(3, 40, 6) @ normal(3, 6, 6, seed=1) + 5  # an offset is no variance
    wanted = []
    for member in h:
        v = np.linalg.eigvalsh(np.cov(member.T))
        wanted.append(v.sum() ** 2 / (v**2).sum())
    np.testing.assert_allclose(diagnose.dimension([tf.constant(h)])[:, 0], wanted, rtol=1e-10)
    single = diagnose.dimension([tf.constant(h, tf.float32), tf.constant(10 * h, tf.float32)])
    np.testing.assert_allclose(single, np.stack([wanted, wanted], axis=1), rtol=1e-4)  # scale does not count


def test_dimension_at_its_ends():
    line = normal(2, 50, 1) * normal(2, 1, 7, seed=1)
    np.testing.assert_allclose(diagnose.dimension([tf.constant(line)]), 1, rtol=1e-12)
    cube = np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T  # exactly isotropic
    np.testing.assert_allclose(diagnose.dimension([tf.constant(cube[None])]), 4, rtol=1e-12)


def oracle(train, targets, test, labels, ridge):
    """Minimise |A W - Y|^2 + ridge N |W|^2 as least squares with extra rows."""
    scores = []
    for a, b in zip(train, test, strict=True):
        a, b = (np.hstack([h.astype(float), np.ones((len(h), 1))]) for h in (a, b))
        n = a.shape[1]
        tall = np.vstack([a, np.sqrt(ridge * len(a)) * np.eye(n)])
        w = np.linalg.lstsq(tall, np.vstack([targets, np.zeros((n, targets.shape[1]))]), rcond=None)[0]
        scores.append(((b @ w).argmax(axis=1) == labels).mean())
    return np.array(scores)


def probe_accuracy(train, targets, test, labels, ridge):
    scores = tf.matmul(nets.with_ones(test), diagnose.probe(train, targets, ridge)).numpy()
    hits = (scores.argmax(axis=-1) == labels).mean(axis=1)
    return np.where(np.isfinite(scores).all(axis=(1, 2)), hits, np.nan)


@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probe_against_least_squares(ridge, dtype):
    rng = np.random.default_rng(3)
    labels, test_labels = rng.integers(0, 4, 60), rng.integers(0, 4, 80)
    centres = rng.normal(size=(3, 4, 5))
    train, test = (
        np.tanh(centres[:, y] + rng.normal(size=(3, len(y), 5))).astype(dtype) for y in (labels, test_labels)
    )
    result = probe_accuracy(tf.constant(train), np.eye(4)[labels], tf.constant(test), test_labels, ridge)
    wanted = oracle(train, np.eye(4)[labels], test, test_labels, ridge)
    assert 0.4 < wanted.mean() < 1
    np.testing.assert_allclose(result, wanted, rtol=1e-12)


def test_probe_separates_what_a_line_separates():
    labels = np.array([0, 1] * 10)
    h = np.where(labels, 1.0, -1.0)[None, :, None]
    assert probe_accuracy(tf.constant(h), np.eye(2)[labels], tf.constant(h), labels, 1e-3) == [1.0]
    assert probe_accuracy(tf.constant(h), np.eye(2)[labels], tf.constant(-h), labels, 1e-3) == [0.0]


def test_probe_of_saturated_units_that_repeat_each_other():
    """Columns equal to each other and to the bias: only the ridge makes the system solvable."""
    labels = np.arange(1000) % 2
    h = np.where(labels, 1.0, -1.0).astype(np.float32)[None, :, None] * np.ones((2, 1, 20), np.float32)
    h[1] = 1
    result = probe_accuracy(tf.constant(h), np.eye(2)[labels], tf.constant(h), labels, 1e-8)
    assert result[0] == 1
    assert result[1] == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_member_that_is_not_finite_stays_alone(bad):
    h, labels = normal(3, 20, 4, dtype=np.float32), np.arange(20) % 2
    ill = h.copy()
    ill[1, 3, 2] = bad

    def probed(train, test):
        return probe_accuracy(tf.constant(train), np.eye(2)[labels], tf.constant(test), labels, 0.1)

    def measured(measure, h):
        return measure([tf.constant(h)])[:, 0]

    found = [
        *((measured(m, ill), measured(m, h)) for m in (diagnose.slope, diagnose.dimension)),
        *((probed(*pair), probed(h, h)) for pair in ((ill, h), (h, ill))),
    ]
    for result, clean in found:
        assert np.array_equal(result[[0, 2]], clean[[0, 2]]) and not np.isfinite(result[1])


@pytest.mark.parametrize("ridge", [0, -1.0, np.nan, np.inf])
def test_bad_ridge_is_refused(ridge):
    h = tf.zeros((1, 4, 2))
    with pytest.raises(ValueError, match="ridge must"):
        probe_accuracy(h, np.eye(2)[[0, 1, 0, 1]], h, np.array([0, 1, 0, 1]), ridge)


def test_a_guess_is_the_largest_score_and_none_where_one_is_not_finite():
    z = np.array([[0, 3, 1], [np.nan, 3, 1], [0, np.inf, 1], [-np.inf, 3, 1], [0, 1, 3], [2, 2, 0]])
    assert diagnose.guess(z[None]).tolist() == [[1, -1, -1, -1, 2, 0]]
    assert diagnose.guess(z, np.ones_like(z)).tolist() == [0, -1, -1, -1, 0, 0], "of the outputs"
    assert diagnose.guess(tf.constant(z, tf.float32)).tolist() == [1, -1, -1, -1, 2, 0]


def test_finite_are_members_all_of_whose_parameters_are():
    layers = [np.ones((4, 3, 2)), np.ones((4, 3, 1))]
    layers[0][1, 2, 0], layers[1][2, 0, 0], layers[1][3, 2, 0] = np.nan, np.inf, -np.inf
    assert diagnose.finite(layers).tolist() == [True, False, False, False]
