"""Segments, slices and filter-normalised directions against closed forms, NumPy and rescaled networks."""

import numpy as np
import pytest

from lib import convnets, curvature, landscape
from lib.backend import tf

DESIGN = convnets.Design((2,), (3,))
SIZE = 10 * 2 + (2 * 169 + 1) * 3 + (3 + 1) * 10
LIKE = [tf.zeros((1, *shape), tf.float64) for shape in DESIGN.shapes]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def parts(row, like=LIKE):
    """One row as matrices (n_in + 1, n_out)."""
    return [layer.numpy()[0] for layer in curvature.unflat(np.atleast_2d(row), like)]


def row(layers):
    return np.concatenate([layer.ravel() for layer in layers])


@pytest.fixture(scope="module")
def loss():
    """Of networks of this design over a few images of noise, in float64."""
    rng = np.random.default_rng(1)
    data = convnets.images(
        rng.normal(size=(6, 784)).astype(np.float32), rng.integers(0, 10, 6), convnets.Design((2,))
    )
    patches = tf.cast(data.patches, tf.float64)
    return lambda layers: convnets.losses(convnets.forward(layers, patches, DESIGN)[1], data.labels).numpy()


@pytest.fixture(scope="module")
def origin():
    """A network whose units are all on for some images and off for others."""
    rng = np.random.default_rng(2)
    return row([rng.normal(size=shape) * np.sqrt(2 / shape[0]) for shape in DESIGN.shapes])


# Barriers


def test_a_barrier_by_hand():
    shares = [0, 0.25, 0.5, 1]
    losses = [[1, 1, 1, 1], [0, 1, 2, 4], [0, 3, 2, 4], [4, 1, 1, 0], [2, 5, 7, 0]]
    assert landscape.barrier(losses, shares).tolist() == [0, 0, 2, 0, 6]
    assert landscape.barrier(losses[2], shares) == 2


def test_a_convex_loss_has_no_barrier_and_a_concave_one_has_its_rise():
    shares = np.linspace(0, 1, 11)
    at = landscape.segment(normal(20), normal(20, seed=1), shares)
    bowl = (at**2).sum(axis=1)
    assert landscape.barrier(bowl, shares) == pytest.approx(0, abs=1e-12)
    # -|x|^2 rises by |start - end|^2 / 4 above the line, in the middle
    away = ((at[0] - at[-1]) ** 2).sum()
    assert landscape.barrier(-bowl, shares) == pytest.approx(away / 4)


@pytest.mark.parametrize(
    "shares", [[0, 1], [0.1, 0.5, 1], [0, 0.5, 0.9], [0, 0, 1], [0, 1, 0.5], [[0, 0.5, 1]]]
)
def test_shares_that_are_no_way_from_end_to_end_are_refused(shares):
    with pytest.raises(ValueError, match="shares must rise from 0 to 1, one for each loss"):
        landscape.barrier([1.0, 2.0, 1.0], shares)


# Segments


def test_a_segment_by_hand():
    start, end = np.array([1.0, 2, 0]), np.array([3.0, -2, 8])
    result = landscape.segment(start, end, [0, 0.5, 1, 0.25, -1, 2])
    wanted = [[1, 2, 0], [2, 0, 4], [3, -2, 8], [1.5, 1, 2], [-1, 6, -8], [5, -6, 16]]
    assert result.tolist() == wanted


# Principal directions


def test_a_line_is_the_first_direction():
    line = normal(40) / np.linalg.norm(normal(40))
    directions, share = landscape.principal(7 + np.array([[0], [1], [5], [4]]) * line)
    assert abs(directions[0] @ line) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-12)
    assert share == pytest.approx(1, abs=1e-14)


def test_a_share_by_hand():
    """Steps of 3, 2 and 1 along three axes: 9 + 4 of 14."""
    steps = np.diag([3.0, 2, 1])
    directions, share = landscape.principal(np.concatenate([steps, -steps]) + 5)
    np.testing.assert_allclose(np.abs(directions), np.eye(3)[:2], atol=1e-12)
    assert share == pytest.approx(13 / 14, rel=1e-12)


@pytest.mark.parametrize(
    "shape, dtype",
    [((8, 30), np.float64), ((30, 8), np.float32), ((9, 9), np.float64), ((3, 30), np.float32)],
)
def test_principal_is_the_analysis_of_the_covariance(shape, dtype):
    """Three networks lie in a plane, more do not."""
    path = (normal(*shape) * np.linspace(1, 3, shape[1]) + 10).astype(dtype)
    values, vectors = np.linalg.eigh(np.cov(path.astype(float).T))
    directions, share = landscape.principal(path)
    assert share == pytest.approx(values[-2:].sum() / values.sum(), rel=1e-10)
    assert (share > 1 - 1e-13) == (shape[0] == 3)
    np.testing.assert_allclose(np.abs(directions @ vectors[:, [-1, -2]]), np.eye(2), atol=1e-8)


@pytest.mark.parametrize("path", [
    np.arange(10.0).reshape(2, 5), np.arange(5.0), np.ones((3, 4, 5)),
    *(np.array([[0, 1], [2, bad], [3, 4]]) for bad in (np.nan, np.inf)),
], ids=["two", "one row", "three axes", "nan", "inf"])  # fmt: skip
def test_paths_that_are_none_are_refused(path):
    with pytest.raises(ValueError, match="^path must be at least three finite networks"):
        landscape.principal(path)


@pytest.mark.parametrize("count", [3, 6, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_path_that_does_not_move_is_refused(count, dtype):
    """Not even where the mean of equal numbers is rounded."""
    for network in (np.zeros(20), normal(20)):
        with pytest.raises(ValueError, match="^path must move"):
            landscape.principal(np.tile(network.astype(dtype), (count, 1)))


@pytest.mark.parametrize("step", [1e-12, 1e-6])
def test_a_path_that_moves_a_little_moves(step):
    line = normal(20) / np.linalg.norm(normal(20))
    directions, _ = landscape.principal(1 + step * np.arange(5)[:, None] * line)
    assert abs(directions[0] @ line) > 0.99


# Filter-normalised directions


def test_filters_by_hand():
    """One layer of two units: norms 5 and 2 of the origin, 13 and 4 of the direction."""
    like = [tf.zeros((1, 3, 2), tf.float64)]
    origin = np.array([[3, 0], [0, 0], [4, -2]]).ravel()
    direction = np.array([[0, 4], [5, 0], [-12, 0]])
    wanted = np.array([[0, 2], [25 / 13, 0], [-60 / 13, 0]])
    result = landscape.filter_normalised(direction.reshape(1, -1), origin, like)
    assert result.shape == (1, 6) and result.dtype == np.float64
    np.testing.assert_allclose(result, wanted.reshape(1, -1), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype, tolerance", [(tf.float64, 1e-13), (tf.float32, 1e-5)])
def test_filters_have_the_norms_of_the_origins(dtype, tolerance, origin):
    """Whatever the directions' own: only their signs count."""
    like = [tf.cast(layer, dtype) for layer in LIKE]
    directions = normal(3, SIZE, seed=4) * np.array([[1e-3], [-1], [50]])
    result = landscape.filter_normalised(directions, origin, like)
    assert result.shape == (3, SIZE)
    for d, r in zip(directions, result, strict=True):
        for a, b, c in zip(parts(d), parts(r), parts(origin), strict=True):
            sizes = np.linalg.norm(a, axis=0), np.linalg.norm(c, axis=0)
            np.testing.assert_allclose(np.linalg.norm(b, axis=0), sizes[1], rtol=tolerance)
            np.testing.assert_allclose(b, a * sizes[1] / sizes[0], rtol=tolerance, atol=0)


def test_filters_of_zeros_give_zeros(origin):
    layers, direction = parts(origin), parts(normal(SIZE, seed=4))
    layers[1][:, 2] = 0
    direction[0][:, 1] = 0
    direction[2][:] = 0
    result = landscape.filter_normalised(row(direction)[None], row(layers), LIKE)
    assert np.isfinite(result).all()
    first, second, third = parts(result)
    assert (first[:, 1] == 0).all() and (second[:, 2] == 0).all() and (third == 0).all()
    for w, r, alive in ((layers[0], first, [0]), (layers[1], second, [0, 1])):
        np.testing.assert_allclose(np.linalg.norm(r, axis=0)[alive], np.linalg.norm(w, axis=0)[alive])
    assert (landscape.filter_normalised(np.zeros((1, SIZE)), origin, LIKE) == 0).all()


def rescaled(network, layer, unit, factor):
    """The same function: what comes into a unit or channel times the factor, what goes out divided by it."""
    layers = [w.copy() for w in parts(network)]
    layers[layer][:, unit] *= factor
    width = DESIGN.shapes[layer][1]
    layers[layer + 1][:-1][unit::width] /= factor
    return row(layers)


@pytest.mark.parametrize("layer, unit, factor", [(0, 0, 10), (0, 1, 0.03), (1, 0, 0.03), (1, 2, 10)])
def test_a_slice_does_not_see_how_a_unit_is_scaled(layer, unit, factor, origin, loss):
    """Along a direction in the unit's own filter; steps that are not normalised do see it."""
    direction = [np.zeros(shape) for shape in DESIGN.shapes]
    direction[layer][:, unit] = normal(len(direction[layer]), seed=7)
    direction = row(direction)[None]
    other = rescaled(origin, layer, unit, factor)
    assert not np.allclose(other, origin)
    shares = np.linspace(-1, 1, 9)

    def along(network, direction):
        return loss(curvature.unflat(network + shares[:, None] * direction, LIKE))

    ways = [landscape.filter_normalised(direction, network, LIKE) for network in (origin, other)]
    np.testing.assert_allclose(ways[1], factor * ways[0], rtol=1e-12)
    curves = along(origin, ways[0]), along(other, ways[1])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-10)
    assert np.ptp(curves[0]) > 1e-3, "the loss changes along it"
    assert np.abs(along(other, ways[0]) - curves[0]).max() > 1e-3


# The plane


def test_the_rows_of_a_slice_run_along_x_first():
    result = landscape.slice_rows(np.zeros(2), np.eye(2), np.array([1, 2, 3]), np.array([10, 20]))
    assert result.tolist() == [[1, 10], [2, 10], [3, 10], [1, 20], [2, 20], [3, 20]]
    origin, directions = normal(5), normal(2, 5, seed=1)
    x, y = np.array([-1.0, 0, 0.5]), np.array([0.0, 2])
    grid = landscape.slice_rows(origin, directions, x, y).reshape(2, 3, 5)
    for i, j in np.ndindex(2, 3):
        wanted = origin + x[j] * directions[0] + y[i] * directions[1]
        np.testing.assert_allclose(grid[i, j], wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1, 1e-4, 1e4])
def test_coordinates_undo_a_slice(scale):
    """The directions need not be orthogonal, nor of one length."""
    origin, directions = normal(30), normal(2, 30, seed=1) * np.array([[1], [scale]])
    directions[1] += 0.7 * scale * directions[0]
    x, y = np.linspace(-2, 1, 4), np.linspace(0, 3, 5)
    result = landscape.coordinates(landscape.slice_rows(origin, directions, x, y), origin, directions)
    assert result.shape == (20, 2)
    np.testing.assert_allclose(result[:, 0].reshape(5, 4), np.tile(x, (5, 1)), atol=1e-8)
    np.testing.assert_allclose(result[:, 1].reshape(5, 4), np.tile(y[:, None], (1, 4)), atol=1e-8)


def test_coordinates_of_points_off_the_plane_are_the_nearest():
    origin, directions, path = normal(30), normal(2, 30, seed=1), normal(7, 30, seed=2)
    result = landscape.coordinates(path, origin, directions)
    rest = path - origin - result @ directions
    assert np.abs(rest @ directions.T).max() < 1e-12, "what is left is orthogonal"
    wanted = np.linalg.solve(directions @ directions.T, directions @ (path - origin).T).T
    np.testing.assert_allclose(result, wanted, rtol=1e-10)
    off = rest[0] + origin + np.array([2, -3]) @ directions
    np.testing.assert_allclose(landscape.coordinates(off[None], origin, directions), [[2, -3]], rtol=1e-10)


# Losses of many


@pytest.mark.parametrize("chunk", [1, 3, 4, 7, 10])
def test_losses_are_those_of_each_alone(chunk, origin, loss):
    rows = origin + 0.3 * normal(7, SIZE, seed=3)
    sizes = []

    def seen(layers):
        sizes.append(layers[0].shape[0])
        assert [w.shape[1:] for w in layers] == DESIGN.shapes
        return loss(layers)

    result = landscape.losses(rows, LIKE, seen, chunk)
    assert sizes == [chunk] * -(-7 // chunk), "one size for one graph"
    wanted = [loss([tf.constant(w[None]) for w in parts(r)])[0] for r in rows]
    assert result.shape == (7,) and len(set(wanted)) == 7
    np.testing.assert_allclose(result, wanted, rtol=1e-12)
