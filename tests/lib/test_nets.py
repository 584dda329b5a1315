"""Layers, draws and the forward pass against NumPy."""

import numpy as np
import pytest
from alike import arrays

from lib import nets
from lib.backend import tf

ACTIVATION = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
}


def test_shapes_carry_the_bias_as_one_more_row():
    assert nets.shapes([784, 100, 10]) == [(785, 100), (101, 10)]
    assert nets.shapes(np.array([3, 1])) == [(4, 1)]


@pytest.mark.parametrize("sizes", [[], [3], [3, 0], [3, -1, 2], [3, 2.0], [3, "2"], [np.nan, 2]])
def test_sizes_that_are_no_network_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes must be"):
        nets.shapes(sizes)


def test_weights_are_normal_cut_at_two_standard_deviations():
    sd = 0.3
    (layer,) = arrays(nets.truncated_normal([4, 5], [(401, 400)], sd, 0.1))
    w = layer[:, :-1].astype(float)
    n = w.size
    assert np.abs(w).max() <= 2 * sd < np.abs(w).max() * 1.001
    # moments of the normal cut at c = 2: variance 1 - 2 c phi(c) / (2 Phi(c) - 1)
    phi, inside = np.exp(-2) / np.sqrt(2 * np.pi), 0.9544997361036416
    variance = 1 - 4 * phi / inside
    assert np.sqrt(variance) == pytest.approx(0.8796, abs=1e-4)
    assert abs(w.mean()) < 5 * sd * np.sqrt(variance / n)
    assert w.std() == pytest.approx(sd * np.sqrt(variance), rel=5 / np.sqrt(2 * n))
    assert (np.abs(w) < sd).mean() == pytest.approx(0.6826894921370859 / inside, abs=5 * 0.45 / np.sqrt(n))


def test_biases_are_constant_and_shapes_are_members_rows_columns():
    layers = nets.truncated_normal([1, 2, 3], [(8, 5), (6, 2)], 0.1, 0.25)
    assert [layer.shape for layer in layers] == [(3, 8, 5), (3, 6, 2)]
    for layer in arrays(layers):
        assert layer.dtype == np.float32
        assert (layer[:, -1] == 0.25).all()


@pytest.mark.parametrize("draw, drawn", [
    (lambda seeds, layers, **how: nets.truncated_normal(seeds, layers, 0.1, 0.1, **how), slice(-1)),
    (nets.normal, slice(None)),
], ids=["truncated", "normal"])  # fmt: skip
def test_a_member_depends_on_its_seed_and_stream_alone(draw, drawn):
    layers, seeds = [(8, 5), (6, 2), (6, 2)], [7, 0, 2**31 - 1, 9]
    together = arrays(draw(seeds, layers))
    assert [layer.shape for layer in together] == [(4, 8, 5), (4, 6, 2), (4, 6, 2)]
    for position, seed in enumerate(seeds):
        for a, b in zip(together, arrays(draw([np.int64(seed)], layers)), strict=True):
            assert np.array_equal(a[position], b[0])
    other, again = (arrays(draw(seeds, layers, stream=1)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(other, again, strict=True))
    draws = np.concatenate([layer[:, drawn].ravel() for layer in together + other])
    assert len(np.unique(draws)) == draws.size, "no draw comes twice: layers, seeds, streams"


def test_normal_weights_and_biases_are_standard_normal():
    """Not scaled by any width, and not cut."""
    (layer,) = arrays(nets.normal(range(40), [(101, 100)]))
    assert layer.shape == (40, 101, 100) and layer.dtype == np.float64
    for part in (layer[:, :-1], layer[:, -1]):
        n = part.size
        assert abs(part.mean()) < 5 / np.sqrt(n)
        assert part.std() == pytest.approx(1, abs=5 / np.sqrt(2 * n))
        assert (np.abs(part) < 1).mean() == pytest.approx(0.6826894921370859, abs=5 * 0.47 / np.sqrt(n))
        assert (part**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / n))
    assert np.abs(layer).max() > 4


def test_normal_draws_in_float64_whatever_they_are_rounded_to():
    layers = [(8, 5), (6, 2)]
    double, single = (arrays(nets.normal([3, 4], layers, dtype=d)) for d in (tf.float64, tf.float32))
    for a, b in zip(double, single, strict=True):
        assert b.dtype == np.float32
        assert np.array_equal(a.astype(np.float32), b)
        assert not np.array_equal(a, b), "more than float32 holds"


@pytest.mark.parametrize(
    "seeds, sd, bias, said",
    [
        *((seeds, 0.1, 0.1, "seeds must") for seeds in ([], [-1], [2**31], [1.0], ["1"], [0, None])),
        *(([1], sd, 0.1, "sd must") for sd in (0, -0.1, np.nan, np.inf)),
        *(([1], 0.1, bias, "bias must") for bias in (np.nan, np.inf)),
    ],
)
def test_bad_draws_are_refused(seeds, sd, bias, said):
    with pytest.raises(ValueError, match=said):
        nets.truncated_normal(seeds, [(3, 2)], sd, bias)
    if said == "seeds must":
        with pytest.raises(ValueError, match=said):
            nets.normal(seeds, [(3, 2)])


def test_wide_is_undone_by_stacked_and_multiplies_as_each_member():
    rng = np.random.default_rng(0)
    layer, x = rng.normal(size=(3, 5, 4)), rng.normal(size=(7, 5))
    wide = nets.wide(tf.constant(layer))
    assert wide.shape == (5, 12)
    assert np.array_equal(nets.stacked(wide, 3), layer)
    np.testing.assert_allclose(nets.stacked(tf.constant(x) @ wide, 3), x @ layer, rtol=1e-12)


@pytest.mark.parametrize("hidden", sorted(ACTIVATION))
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_forward_against_numpy(hidden, dtype, rtol):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 4)).astype(dtype)
    for members, sizes in ((1, [4, 3]), (3, [4, 5, 2]), (2, [4, 3, 3, 2])):
        layers = [rng.normal(size=(members, *shape)).astype(dtype) for shape in nets.shapes(sizes)]
        out = nets.forward([tf.constant(layer) for layer in layers], x, hidden)
        assert len(out) == len(layers)
        for member in range(members):
            value = x.astype(float)
            for k, layer in enumerate(layers):
                z = value @ layer[member, :-1] + layer[member, -1]
                value = ACTIVATION[hidden](z)
                wanted = z if k == len(layers) - 1 else value
                np.testing.assert_allclose(out[k][member], wanted, rtol=rtol, atol=rtol)


def test_forward_takes_any_number_of_members_and_images_in_any_order():
    """Shapes are part of the graph: a second size must not disturb the first, nor its bits."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(9, 4)).astype(np.float32)
    layers = nets.truncated_normal(range(16), nets.shapes([4, 3, 2]), 1.0, 0.1)
    first = nets.forward(layers, x, "tanh")[-1].numpy()
    for members, images in ((1, 9), (3, 9), (3, 5), (8, 1), (2, 9)):
        part = nets.forward([layer[:members] for layer in layers], x[:images], "tanh")[-1].numpy()
        np.testing.assert_allclose(part, first[:members, :images], rtol=1e-5, atol=1e-6)
    assert np.array_equal(nets.forward(layers, x, "tanh")[-1].numpy(), first)


def test_forward_refuses_what_does_not_fit():
    layers = nets.truncated_normal([1], nets.shapes([4, 3, 2]), 0.1, 0.1)
    with pytest.raises(ValueError, match="hidden must be one of .*got 'softplus'"):
        nets.forward(layers, np.zeros((2, 4), np.float32), "softplus")
    with pytest.raises(ValueError, match="x has 5 columns, the first layer takes 4"):
        nets.forward(layers, np.zeros((2, 5), np.float32), "tanh")
