"""Copies with permuted neurons against enumeration of all of them."""

import itertools

import numpy as np
import pytest

from lib import convnets, permutations


def network(*sizes, members=2, seed=0, pixels=(1, 1, 1, 1)):
    """Layer k sees the layer below at this many pixels."""
    rng, shapes = np.random.default_rng(seed), zip(pixels, sizes[:-1], sizes[1:], strict=False)
    return [rng.normal(size=(members, q * a + 1, b)) for q, a, b in shapes]


def outputs(layers, x):
    h = np.tile(x, (len(layers[0]), 1, 1))
    for k, w in enumerate(layers):
        h = h @ w[:, :-1] + w[:, -1:]
        h = np.tanh(h) if k < len(layers) - 1 else h
    return h


def copies(layers):
    """Every copy of the networks, the networks themselves first."""
    sizes = [w.shape[2] for w in layers[:-1]]
    for orders in itertools.product(*(itertools.permutations(range(n)) for n in sizes)):
        yield [np.array(o) for o in orders], permutations.permuted(layers, [np.array(o) for o in orders])


SHAPES = [(3, 2, 2), (4, 5, 3), (2, 6, 1), (3, 3, 3, 2), (2, 1, 4, 2), (2, 2, 3, 2, 2)]
ONE = [s for s in SHAPES if len(s) == 3]


@pytest.mark.parametrize("sizes", SHAPES)
def test_copies_compute_the_same_function(sizes):
    layers, x = network(*sizes), np.random.default_rng(1).normal(size=(5, sizes[0]))
    wanted, count = outputs(layers, x), 0
    for _, copy in copies(layers):
        np.testing.assert_allclose(outputs(copy, x), wanted, rtol=1e-12, atol=1e-12)
        count += 1
    assert count == np.prod([np.prod(range(1, n + 1)) for n in sizes[1:-1]])


def test_each_member_may_have_an_order_of_its_own():
    layers = network(3, 4, 2)
    orders = np.array([[1, 0, 2, 3], [3, 2, 1, 0]])
    both = permutations.permuted(layers, [orders])
    for m in range(2):
        alone = permutations.permuted([w[m : m + 1] for w in layers], [orders[m]])
        assert all(np.array_equal(a[m : m + 1], b) for a, b in zip(both, alone, strict=True))
    assert np.array_equal(permutations.neurons(both)[0], permutations.neurons(layers)[0][orders[0]])


@pytest.mark.parametrize(
    "orders", [[], [[0, 1]], [[0, 1, 1]], [[0, 1, 3]], [[0, 1, 2], [0, 1]], [[1.5, 0, 1]]]
)
def test_what_is_no_permutation_is_refused(orders):
    with pytest.raises(
        ValueError, match=r"^orders must hold a permutation for each hidden layer, of sizes \[3\]"
    ):
        permutations.permuted(network(2, 3, 2), orders)


def test_copies_of_a_convolutional_network_compute_the_same_function():
    """Two blocks, whose second map is flattened for a dense layer."""
    design, rng = convnets.Design((2, 3), (4,)), np.random.default_rng(0)
    layers = [w.numpy() for w in convnets.initial([1, 2], design, "he")]
    layers = [w + rng.normal(size=w.shape, scale=0.1).astype(np.float32) for w in layers]
    x = convnets.images(rng.random((5, 784), np.float32), np.arange(5), design)
    orders = [np.array(o) for o in ([1, 0], [2, 0, 1], [3, 1, 0, 2])]
    copy = permutations.permuted(layers, orders)
    wanted, found = (convnets.forward(w, x.patches, design)[1].numpy() for w in (layers, copy))
    assert np.std(wanted) > 0.1
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_channels_against_all_copies():
    """The yardsticks and the margin, where layers see the one below at nine and at four pixels.

    The nearest copy is the nearest in which neurons of one layer alone have changed places.
    """
    layers = network(1, 3, 2, 3, pixels=(9, 9, 4), members=3)
    far, margin = [], permutations.swap_margin(layers, layers)
    for orders, copy in copies(layers):
        far.append((sum((o != range(len(o))).any() for o in orders), permutations.distance(layers, copy)))
    every = np.array([d for _, d in far])
    alone = np.min([d for layers_moved, d in far if layers_moved == 1], axis=0)
    np.testing.assert_allclose(permutations.nearest_copy(layers), alone, rtol=1e-12)
    np.testing.assert_allclose(permutations.mean_copy(layers) ** 2, (every**2).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(margin, alone**2, rtol=1e-9)  # of a network against itself


def test_nearest_copy_among_some_of_the_neurons():
    layers = network(4, 5, 3, members=2)
    among = np.array([[True, True, False, True, False], [False] * 4 + [True]])
    others = [
        permutations.distance(layers, copy)[0]
        for [order], copy in copies(layers)
        if (order[[2, 4]] == [2, 4]).all() and (order != range(5)).any()
    ]
    found = permutations.nearest_copy(layers, [among])
    np.testing.assert_allclose(permutations.swap_margin(layers, layers, [among]), found**2, rtol=1e-9)
    assert found[0] == pytest.approx(min(others), rel=1e-12) and np.isinf(found[1])
    assert np.array_equal(
        permutations.nearest_copy(layers, [among | True]), permutations.nearest_copy(layers)
    )


def test_equal_neurons_are_a_copy_at_no_distance():
    layers = network(3, 4, 2)
    layers[0][:, :, 3], layers[1][:, 3] = layers[0][:, :, 1], layers[1][:, 1]
    assert (permutations.nearest_copy(layers) == 0).all()


def test_a_large_neuron_takes_no_digits_from_the_others():
    """In float32 as well, and where a member is not finite, that one alone is NaN."""
    layers = network(3, 4, 2)
    wanted = permutations.nearest_copy([layers[0][:, :, 1:], layers[1][:, 1:]])
    layers[0][:, :, 0] *= 1e7
    np.testing.assert_allclose(permutations.nearest_copy(layers), wanted, rtol=1e-13)
    single = [w.astype(np.float32) for w in layers]
    double = [w.astype(float) for w in single]
    assert np.array_equal(permutations.nearest_copy(single), permutations.nearest_copy(double))
    layers[0][1, 0, 2] = np.nan
    found = permutations.nearest_copy(layers)
    assert found[0] == pytest.approx(wanted[0], rel=1e-13) and np.isnan(found[1])


def test_one_neuron_has_no_copy():
    layers = network(3, 1, 2)
    assert np.isinf(permutations.nearest_copy(layers)).all()
    assert np.isinf(permutations.swap_margin(layers, layers)).all()
    assert (permutations.mean_copy(layers) == 0).all()


@pytest.mark.parametrize("sizes", SHAPES)
def test_mean_and_nearest_copy_against_all_of_them(sizes):
    layers = network(*sizes, members=3)
    far = np.array([permutations.distance(layers, copy) for _, copy in copies(layers)])
    np.testing.assert_allclose(permutations.mean_copy(layers) ** 2, (far**2).mean(axis=0), rtol=1e-12)
    if sizes in ONE:
        np.testing.assert_allclose(permutations.nearest_copy(layers), far[1:].min(axis=0), rtol=1e-12)


@pytest.mark.parametrize("sizes", SHAPES)
def test_swap_margin_against_all_swaps(sizes):
    before, after = network(*sizes, members=3), network(*sizes, members=3, seed=5)
    after = [a + 0.3 * b for a, b in zip(before, after, strict=True)]
    own = permutations.distance(before, after) ** 2
    changes = []
    for k, n in enumerate(sizes[1:-1]):
        for i, j in itertools.combinations(range(n), 2):
            orders = [np.arange(size) for size in sizes[1:-1]]
            orders[k][[i, j]] = j, i
            changes.append(permutations.distance(before, permutations.permuted(after, orders)) ** 2 - own)
    np.testing.assert_allclose(permutations.swap_margin(before, after), np.min(changes, axis=0), rtol=1e-9)


@pytest.mark.parametrize("sizes", ONE)
def test_match_of_one_layer_is_the_nearest_of_all_copies(sizes):
    fixed, moving = network(*sizes, members=3), network(*sizes, members=3, seed=7)
    nearest = np.min([permutations.distance(fixed, copy) for _, copy in copies(moving)], axis=0)
    orders = permutations.match(fixed, moving)
    found = permutations.distance(fixed, permutations.permuted(moving, orders))
    np.testing.assert_allclose(found, nearest, rtol=1e-12)


@pytest.mark.parametrize("sizes", SHAPES)
def test_match_finds_the_order_that_was_lost(sizes):
    layers = network(*sizes, members=3)
    rng = np.random.default_rng(2)
    for _ in range(5):
        orders = [rng.permutation(n) for n in sizes[1:-1]]
        noisy = [w + 1e-3 * rng.normal(size=w.shape) for w in layers]
        found = permutations.permuted(noisy, orders)
        found = permutations.permuted(found, permutations.match(layers, found))
        if len(sizes) == 3:
            assert all(np.array_equal(a, b) for a, b in zip(found, noisy, strict=True))
        before = permutations.distance(layers, permutations.permuted(noisy, orders))
        assert (permutations.distance(layers, found) <= before + 1e-12).all()


@pytest.mark.parametrize("sizes", SHAPES)
def test_a_network_is_nearest_to_itself_and_has_room(sizes):
    layers = network(*sizes)
    for order in permutations.match(layers, layers):
        assert (order == np.arange(order.shape[1])).all()
    assert (permutations.swap_margin(layers, layers) > 0).all()


def test_the_match_leaves_the_identity_once_a_margin_is_below_zero():
    """Never before: of a pair of swapped neurons the assignment takes the nearer order."""
    before = network(4, 5, 3, members=1)
    after = permutations.permuted(before, [np.array([1, 0, 2, 3, 4])])
    for share in np.linspace(0, 1, 21):
        now = [(1 - share) * a + share * b for a, b in zip(before, after, strict=True)]
        (order,) = permutations.match(before, now)
        if permutations.swap_margin(before, now)[0] < -1e-9:
            assert (order[0] != np.arange(5)).any()
        elif share < 0.5:
            assert (order[0] == np.arange(5)).all()


def test_a_copy_of_odd_units_computes_the_same_and_is_found():
    rng, layers = np.random.default_rng(0), network(40, 6, 5, 10, members=3)
    orders = [rng.permuted(np.tile(np.arange(n), (3, 1)), axis=1) for n in (6, 5)]
    signs = [rng.choice([-1.0, 1.0], (3, n)) for n in (6, 5)]
    copy, x = permutations.permuted(layers, orders, signs), rng.random((7, 40))
    np.testing.assert_allclose(outputs(copy, x), outputs(layers, x), rtol=1e-10, atol=1e-12)
    back = permutations.permuted(copy, *permutations.match_odd(layers, copy))
    for w, v in zip(layers, back, strict=True):
        np.testing.assert_array_equal(w, v)
    copy[0][1] = np.nan  # stays as it is
    assert (permutations.match_odd(layers, copy)[0][0][1] == np.arange(6)).all()


@pytest.mark.parametrize("k", [0, 1])
def test_a_turned_channel_takes_its_rows_of_all_pixels_along(k):
    layers, signs = network(5, 4, 3, 2, pixels=(1, 9, 4, 1)), [np.ones(4), np.ones(3)]
    signs[k][1:] = -1
    turned = permutations.permuted(layers, [np.arange(4), np.arange(3)], signs)
    wanted = signs[k][:, None] * permutations.neurons(layers, k)
    np.testing.assert_array_equal(permutations.neurons(turned, k), wanted)
    assert np.array_equal(turned[k + 1][:, -1], layers[k + 1][:, -1]), "biases above stay"
