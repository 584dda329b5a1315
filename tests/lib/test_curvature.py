"""Hessian products against quadratics and Jacobians, the largest eigenvalue against dense solvers."""

import functools

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

from lib import convnets, curvature
from lib.backend import tf

EPS = np.finfo(float).eps


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def symmetric(*shape, seed=0):
    a = normal(*shape, seed=seed)
    return a + np.swapaxes(a, -1, -2)


# Rows


def test_rows_by_hand():
    layers = [tf.constant([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]), tf.constant([[[9]], [[10]]])]
    assert curvature.flat(layers).numpy().tolist() == [[1, 2, 3, 4, 9], [5, 6, 7, 8, 10]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flat_and_unflat_are_inverse(dtype):
    layers = [tf.constant(normal(3, *shape, seed=k), dtype) for k, shape in enumerate([(4, 2), (3, 5)])]
    rows = curvature.flat(layers)
    assert rows.shape == (3, 23) and rows.dtype == dtype
    for a, b in zip(curvature.unflat(rows, layers), layers, strict=True):
        assert a.dtype == dtype and np.array_equal(a, b)
    more = normal(7, 23).astype(dtype)
    assert np.array_equal(curvature.flat(curvature.unflat(more, layers)), more), "other members"
    for layer in curvature.unflat(more.astype(float), layers):
        assert layer.dtype == dtype and layer.shape[0] == 7


def test_rows_of_another_length_are_refused():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        curvature.unflat(np.zeros((1, 5)), [tf.zeros((1, 2, 2))])


# Products


def test_products_on_a_quadratic():
    """Of w'Aw/2, a matrix for each member: the gradient is A w, and the Hessian is A everywhere."""
    shapes, members = [(3, 2), (2, 4)], 3
    a = symmetric(members, 14, 14)
    layers, vectors = (
        [tf.constant(normal(members, *shape, seed=s + k)) for k, shape in enumerate(shapes)] for s in (1, 5)
    )

    def loss(layers):
        rows = curvature.flat(layers)
        return tf.einsum("mi,mij,mj->m", rows, tf.constant(a), rows) / 2

    gradient, along = curvature.products(loss)(layers, vectors)
    for result, of in ((gradient, layers), (along, vectors)):
        assert [r.shape for r in result] == [(members, *shape) for shape in shapes]
        wanted = np.einsum("mij,mj->mi", a, curvature.flat(of))
        np.testing.assert_allclose(curvature.flat(result), wanted, rtol=1e-12, atol=1e-12)


def test_products_of_a_quartic_depend_on_the_place():
    """Of sum w^4 / 12: the gradient is w^3 / 3, the Hessian diagonal with w^2."""
    w, v = normal(2, 3, 2), normal(2, 3, 2, seed=1)
    (gradient,), (along,) = curvature.products(lambda w: tf.reduce_sum(w[0] ** 4, axis=(1, 2)) / 12)(
        [tf.constant(w)], [tf.constant(v)]
    )
    np.testing.assert_allclose(gradient, w**3 / 3, rtol=1e-12)
    np.testing.assert_allclose(along, w**2 * v, rtol=1e-12)


def test_without_a_vector_the_product_is_with_the_gradient():
    """To the bit, and the gradient counts as a constant: of sum w^4 / 12 it is w^2 w^3 / 3."""
    product = curvature.products(lambda w: tf.reduce_sum(w[0] ** 4, axis=(1, 2)) / 12)
    w = normal(2, 3, 2)
    gradient, along = product([tf.constant(w)], None)
    np.testing.assert_allclose(along[0], w**5 / 3, rtol=1e-12)
    assert np.array_equal(along[0], product([tf.constant(w)], gradient)[1][0])


def test_a_layer_that_is_not_seen_has_products_of_zero_and_the_vector_may_be_the_place_itself():
    """Of w^2: H w is 2 w. The vector is a constant, whatever it was made of."""
    layers = [tf.constant(normal(2, *s)) for s in ((2, 2), (3, 1))]
    for result in curvature.products(lambda w: tf.reduce_sum(w[0] ** 2, axis=(1, 2)))(layers, layers):
        np.testing.assert_allclose(result[0], 2 * layers[0])
        assert (result[1].numpy() == 0).all()


DESIGN = convnets.Design((1,), (2,), 0.125)
COUNT, MEMBERS = 4, 2
SIZE = 10 + (169 + 1) * 2 + (2 + 1) * 10


def network(seed=0):
    """A very small convolutional network in float64, and its loss over a few images."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(COUNT, 784)).astype(np.float32)
    data = convnets.images(x, rng.integers(0, 10, COUNT), DESIGN)
    patches = tf.cast(data.patches, tf.float64)
    layers = [tf.constant(rng.normal(size=(MEMBERS, *s)) * np.sqrt(2 / s[0])) for s in DESIGN.shapes]

    def loss(layers):
        return convnets.losses(convnets.forward(layers, patches, DESIGN)[1], data.labels)

    return loss, layers


def explicit(loss, layers):
    """Each member's gradient and Hessian, by TensorFlow's differentiation of each of its entries."""
    rows = curvature.flat(layers)
    with tf.GradientTape() as outer:
        outer.watch(rows)
        with tf.GradientTape() as inner:
            inner.watch(rows)
            value = loss(curvature.unflat(rows, layers))
        gradient = inner.gradient(value, rows)
    return gradient.numpy(), outer.batch_jacobian(gradient, rows).numpy()


@pytest.fixture(scope="module")
def tiny():
    loss, layers = network()
    return loss, layers, *explicit(loss, layers)


traced = functools.cache(curvature.products)  # to trace a graph takes longer than all its products


def both(loss, layers, rows):
    """Gradient and product, as rows."""
    return [curvature.flat(part).numpy() for part in traced(loss)(layers, curvature.unflat(rows, layers))]


def test_products_of_a_network_against_its_explicit_hessian(tiny):
    loss, layers, slope, hessian = tiny
    assert hessian.shape == (MEMBERS, SIZE, SIZE) and np.abs(hessian).max() > 0.1
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, 1, 2), atol=1e-12)
    for seed in (4, 5):
        v = normal(MEMBERS, SIZE, seed=seed)
        gradient, along = both(loss, layers, v)
        np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(along, np.einsum("mij,mj->mi", hessian, v), rtol=1e-10, atol=1e-11)


def test_the_same_product_has_the_same_bits():
    """No sum has more than two terms: it would be added in the order in which buffers happen to be free."""
    from tensorflow.python.eager import context  # here, since it is lib.backend that sets TensorFlow up

    design = convnets.Design((2, 3), (4,))
    data = convnets.images(np.ones((3, 784), np.float32), np.arange(3), design)
    layers = convnets.initial(range(2), design, "he")
    product = curvature.products(
        lambda layers, *data: convnets.losses(convnets.forward(layers, data[0], design)[1], data[1])
    )
    context.context().enable_graph_collection()
    try:
        product(layers, layers, *data)
        run = context.context().export_run_metadata()
    finally:
        context.context().disable_graph_collection()
    nodes = [node for graphs in run.function_graphs for node in graphs.post_optimization_graph.node]
    sums = [len(node.input) for node in nodes if node.op == "AddN"]
    assert sums and max(sums) == 2


def test_members_do_not_mix(tiny):
    loss, layers, *_ = tiny
    v = normal(MEMBERS, SIZE, seed=7)
    clean, quiet = both(loss, layers, v), v * [[1], [0]]
    _, along = both(loss, layers, quiet)
    assert np.array_equal(along[0], clean[1][0]) and (along[1] == 0).all()
    others = [tf.concat([w[:1], 2 * w[1:]], axis=0) for w in layers]
    for rows, of in zip(both(loss, others, v), clean, strict=True):
        assert np.array_equal(rows[0], of[0]) and not np.isclose(rows[1], of[1]).all()


# The largest eigenvalue


def product(a):
    return lambda v: np.einsum("mij,mj->mi", a, v)


def top(a, start, iterations, tolerance):
    return curvature.top_eigenvalue(product(a), start, iterations, tolerance)


def counted(a, start, iterations, tolerance):
    """And how many products it took."""
    calls = []
    result = curvature.top_eigenvalue(
        lambda v: calls.append(1) or product(a)(v), start, iterations, tolerance
    )
    return result, len(calls)


def spectrum(values, seed=0):
    """A matrix with these eigenvalues in random directions."""
    q, _ = np.linalg.qr(normal(len(values), len(values), seed=seed))
    return (q * values) @ q.T


P = 12
RANK_ONE = np.outer(normal(P, seed=3), normal(P, seed=3))
MATRICES = {
    "random": symmetric(P, P),
    "largest magnitude is negative": spectrum([-50, -20, *np.linspace(-1, 3, P - 2)]),
    "all positive": spectrum(np.linspace(1, 5, P)), "all negative": spectrum(np.linspace(-9, -4, P)),
    "top twice": spectrum([7, 7, *np.linspace(-3, 5, P - 2)]),
    "rank one": RANK_ONE, "rank one, negative": -RANK_ONE,
    "few eigenvalues": spectrum([-2.0] * 5 + [3.0] * (P - 5)),
    "few eigenvalues, negative": spectrum([-2.0] * 5 + [-3.0] * (P - 5)),
    "identity": np.eye(P), "identity, negative": -np.eye(P), "zero": np.zeros((P, P)),
    "large": 1e12 * symmetric(P, P, seed=1), "small": 1e-12 * symmetric(P, P, seed=2),
}  # fmt: skip


def check(top, a, tolerance=2e-7):
    """Against all eigenvalues; a space counts as exhausted at a part of 1.2e-7, float32's rounding."""
    members = len(a)
    assert top.value.shape == top.residual.shape == (members,) and top.vector.shape == a.shape[:2]
    for m in range(members):
        values = np.linalg.eigvalsh(a[m])
        scale = np.abs(values).max()
        assert abs(top.value[m] - values[-1]) <= tolerance * scale
        assert top.value[m] <= values[-1] + 100 * EPS * scale, "never above"
        u = top.vector[m]
        assert np.linalg.norm(u) == pytest.approx(1, abs=1e-12)
        left = np.linalg.norm(a[m] @ u - top.value[m] * u)
        assert abs(top.residual[m] - left) <= tolerance * scale
        assert u @ a[m] @ u == pytest.approx(top.value[m], abs=100 * EPS * scale)


def test_the_matrices_are_what_they_are_called():
    values = {name: np.linalg.eigvalsh(a) for name, a in MATRICES.items()}
    assert -values["largest magnitude is negative"][0] > 10 * values["largest magnitude is negative"][-1]
    assert values["all negative"][-1] < 0 < values["all positive"][0]
    assert np.ptp(values["top twice"][-2:]) < 1e-12


@pytest.mark.parametrize("names", [*([name] for name in MATRICES), [*MATRICES]], ids=lambda n: n[0])
def test_top_eigenvalue(names):
    """Alone and all at once: a member whose products lead nowhere new waits for one that goes on."""
    a = np.stack([MATRICES[name] for name in names])
    check(top(a, normal(len(a), P, seed=9), P, 1e-12), a)


@pytest.mark.parametrize("value", [2.5, -2.5, 0.0])
@pytest.mark.parametrize("iterations", [1, 5])
def test_one_parameter(value, iterations):
    found = curvature.top_eigenvalue(lambda v: value * v, np.array([[-3.0]]), iterations, 0.1)
    assert found.value.tolist() == [value] and found.residual.tolist() == [0]
    assert np.abs(found.vector).tolist() == [[1]]


def test_against_arpack():
    """A large matrix, most of whose spectrum is about zero and whose lower end reaches farther."""
    n, rng = 300, np.random.default_rng(0)
    a = spectrum(np.concatenate([rng.normal(size=n - 6) / 10, [-30, -20, 4, 6, 8, 8.5]]))
    found = top(a[None], normal(1, n), 80, 1e-10)
    wanted, vector = eigsh(a, k=1, which="LA", v0=np.ones(n))
    assert found.value[0] == pytest.approx(wanted[0], rel=1e-9)
    assert abs(found.vector[0] @ vector[:, 0]) == pytest.approx(1, abs=1e-9)
    assert found.residual[0] <= 1e-10 * found.value[0]
    largest, _ = eigsh(a, k=1, which="LM", v0=np.ones(n))
    assert largest[0] < -20, "of largest magnitude is another one"


def test_of_a_network_against_its_explicit_hessian(tiny):
    loss, layers, _, hessian = tiny
    start = normal(MEMBERS, SIZE, seed=8)
    found = curvature.top_eigenvalue(lambda v: both(loss, layers, v)[1], start, 60, 1e-9)
    for m in range(MEMBERS):
        values, vectors = np.linalg.eigh(hessian[m])
        assert found.value[m] == pytest.approx(values[-1], rel=1e-6)
        assert abs(found.vector[m] @ vectors[:, -1]) == pytest.approx(1, abs=1e-6)


def test_more_iterations_never_lower_the_value_and_never_pass_the_eigenvalue():
    n = 40
    a = np.stack([symmetric(n, n, seed=1), spectrum(np.linspace(-9, 1, n)), spectrum(np.logspace(-6, 3, n))])
    start = normal(3, n, seed=2)
    tops = [top(a, start, k, 1e-14) for k in range(1, n + 1)]
    values, scale = np.linalg.eigvalsh(a), np.linalg.norm(a, axis=(1, 2))
    rows = start / np.linalg.norm(start, axis=1, keepdims=True)
    np.testing.assert_allclose(tops[0].value, np.einsum("mi,mij,mj->m", rows, a, rows), rtol=1e-10)
    for before, after in zip(tops[:-1], tops[1:], strict=True):
        assert (after.value >= before.value - 1e-13 * scale).all()
    for value, residual, vector in ((one.value, one.residual, one.vector) for one in tops):
        assert (value <= values[:, -1] + 1e-13 * scale).all()
        left = np.linalg.norm(product(a)(vector) - value[:, None] * vector, axis=1)
        np.testing.assert_allclose(residual, left, atol=2e-7 * scale.max())
        nearest = np.abs(values - value[:, None]).min(axis=1)
        assert (nearest <= left + 1e-13 * scale).all(), "an eigenvalue lies within the residual"
        np.testing.assert_allclose(np.linalg.norm(vector, axis=1), 1, rtol=1e-12)
    assert (tops[3].value < values[:, -1] - 1e-3).all(), "a few products are not enough"
    np.testing.assert_allclose(tops[-1].value, values[:, -1], atol=2e-7 * scale.max())


def test_the_basis_stays_orthogonal_after_the_top_is_found():
    """Rounding would let it in again and again; the first member goes on for the sake of the second."""
    n = 80
    a = np.stack([spectrum([1e4, *np.linspace(0, 1, n - 1)]), symmetric(n, n)])
    check(top(a, normal(2, n, seed=1), n, 1e-14), a)


def test_more_iterations_than_parameters_are_as_many():
    a, start = symmetric(2, 5, 5), normal(2, 5, seed=1)
    found, count = counted(a, start, 1000, 1e-15)
    assert count <= 5 + 1, "one for the residual"
    check(found, a)
    assert all(np.array_equal(*pair) for pair in zip(top(a, start, 5, 1e-15), found, strict=True))


def test_it_stops_when_every_member_is_within_the_tolerance():
    """The number of products is as many as the slowest member needs alone."""
    n = 60
    a = np.stack([spectrum([100, *np.linspace(-1, 1, n - 1)]), spectrum(np.linspace(-10, 10, n))])
    start, counts = normal(2, n, seed=3), []
    for which in ([0], [1], [0, 1]):
        found, count = counted(a[which], start[which], n, 1e-3)
        counts.append(count)
        assert (found.residual <= 1e-3 * np.abs(found.value)).all()
        first = count - 1 - curvature.SETTLED  # one is for the residual
        within, before = (top(a[which], start[which], k, 1e-3) for k in (first, first - 1))
        assert (within.residual <= 1e-3 * np.abs(within.value)).any(), "settled from here on"
        assert (before.residual > 1e-3 * np.abs(before.value)).any(), "not before"
    assert counts[0] < counts[1] == counts[2] < n


def test_the_tolerance_is_a_part_of_the_size_of_a_negative_value_too():
    found, count = counted(MATRICES["all negative"][None], normal(1, P, seed=9), P, 0.5)
    assert count == 1 + curvature.SETTLED + 1 and 0 < found.residual[0] < -0.5 * found.value[0]


@pytest.mark.parametrize(
    "name, count",
    [("zero", 1), ("identity", 1), ("rank one", 2), ("rank one, negative", 2), ("few eigenvalues", 2)],
)
def test_it_stops_when_products_lead_nowhere_new(name, count):
    """After as many products as the matrix has eigenvalues, whatever the tolerance."""
    assert counted(MATRICES[name][None], normal(1, P, seed=9), P, 1e-30)[1] == count + 1, "and the residual's"


def test_a_member_is_the_same_alone_to_the_bit():
    """Also where it ends long before its companions do, by the tolerance or for want of new directions."""
    n = 60
    a = np.stack([spectrum(np.linspace(-9, 9, n)), spectrum([100, *np.linspace(-1, 1, n - 1)]), np.eye(n)])
    start, counts = normal(3, n, seed=3), []

    def one_by_one(a):  # a product of many members at once may round in another way
        return lambda v: np.stack([m @ row for m, row in zip(a, v, strict=True)])

    together = curvature.top_eigenvalue(one_by_one(a), start, n, 1e-4)
    for m in range(3):
        of = one_by_one(a[m : m + 1])
        alone = curvature.top_eigenvalue(
            lambda v, m=m, of=of: counts.append(m) or of(v), start[m : m + 1], n, 1e-4
        )
        for one, all_of_them in zip(alone, together, strict=True):
            assert np.array_equal(one[0], all_of_them[m])
    assert counts.count(0) > counts.count(1) + 3 > counts.count(2) + 3


def test_the_second_of_two_near_outliers_is_not_taken_for_the_first():
    """Where the start holds little of the first one, the second settles within the tolerance before it."""
    values = np.array([10.0, 9.5, *np.linspace(-1, 1, 298)])
    start = normal(1, 300, seed=1)
    start[0, 0] = 1e-3
    found, count = counted(np.diag(values)[None], start, 30, 0.01)
    assert found.value[0] == pytest.approx(10, rel=1e-2) and count < 30


def test_the_residual_is_the_one_that_the_products_show():
    """Products in float32 leave one of their rounding, though Lanczos' own estimate goes to nothing."""
    a = symmetric(P, P).astype(np.float32)[None]
    found = curvature.top_eigenvalue(lambda v: product(a)(v.astype(np.float32)), normal(1, P), P, 1e-12)
    left = np.linalg.norm(a[0].astype(float) @ found.vector[0] - found.value[0] * found.vector[0])
    assert 1e-9 < left < 1e-4 and left / 3 < found.residual[0] < 3 * left


def test_a_member_is_the_same_alone_to_rounding_whatever_its_start_is_multiplied_with():
    n = 20
    a, start = symmetric(3, n, n), normal(3, n, seed=1)
    together = top(a, start, 8, 1e-15)
    for m in range(3):
        alone = top(a[m : m + 1], 1e-5 * start[m : m + 1], 8, 1e-15)
        for one, of in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], of[m], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("first", [0, 3])
def test_a_product_that_is_not_finite_stays_alone(value, first):
    """From the first product on, or only from the fourth."""
    a, start, calls = symmetric(3, P, P), normal(3, P, seed=1), []

    def broken(v):
        w = product(a)(v)
        if len(calls) >= first:
            w[1, 2] = value
        calls.append(1)
        return w

    found, others = curvature.top_eigenvalue(broken, start, P, 1e-12), [0, 2]
    assert all(np.isnan(part[1]).all() for part in found)
    check(curvature.Top(*(part[others] for part in found)), a[others])


def test_nothing_but_products_that_are_not_finite():
    found = curvature.top_eigenvalue(lambda v: v * np.nan, normal(2, 4), 4, 0.1)
    assert all(np.isnan(part).all() for part in found)


FINITE, POSITIVE = (
    "start must be a finite matrix",
    "iterations must be a whole number|tolerance must be above",
)
STARTS = np.ones(3), np.ones((1, 2, 3)), [[1, np.nan]], [[1, np.inf]], [[1, 0], [0, 0]], np.zeros((2, 0))
LIMITS = (0, 0.1), (-1, 0.1), (3, 0), (3, -0.1), (3, np.nan), (3, np.inf)


@pytest.mark.parametrize(
    "start, limits, message",
    [*((s, (3, 0.1), FINITE) for s in STARTS), *((np.ones((1, 2)), pair, POSITIVE) for pair in LIMITS)],
)
def test_starts_without_a_direction_and_limits_that_are_none_are_refused(start, limits, message):
    with pytest.raises(ValueError, match=message):
        curvature.top_eigenvalue(lambda v: v, start, *limits)
