"""The engine against a textbook loop over one network, and the laws of an ensemble."""

import itertools
import random

import numpy as np
import pytest
from alike import arrays, same

from lib import data, nets, train
from lib.backend import tf

D, K, N = 9, 4, 12
LOSSES = ("cross-entropy", "binary cross-entropy", "squared error", "quadratic")
HIDDEN = ("tanh", "sigmoid", "relu")
OPTIMISERS = ("sgd", "momentum", "adagrad", "adam", "normalised")
QUADRATIC = {"hidden": "sigmoid", "loss": "quadratic"}


# The textbook: one network in float64, whose gradients are TensorFlow's own.


def slopes(layers, x, y, hidden, loss):
    """Gradients of the stated loss, summed over the rows of x."""
    layers = [tf.constant(w[None]) for w in layers]
    with tf.GradientTape() as tape:
        tape.watch(layers)
        z = nets.forward(layers, x, hidden)[-1]
        total = tf.reduce_sum(train.LOSSES[loss].value(z, tf.constant(y)))
    return [g[0].numpy() for g in tape.gradient(total, layers)]


def textbook_update(optimiser, w, g, state, rate, t):
    """In place, as TensorFlow 1 documents MomentumOptimizer, AdagradOptimizer and AdamOptimizer."""
    if optimiser in ("sgd", "normalised"):
        w -= rate * g
    elif optimiser == "momentum":
        v = state.setdefault("v", np.zeros_like(w))
        v[:] = 0.9 * v + g
        w -= rate * v
    elif optimiser == "adagrad":
        total = state.setdefault("total", np.full_like(w, 0.1))
        total += g**2
        w -= rate * g / np.sqrt(total)
    elif optimiser == "adam":
        m, v = state.setdefault("m", np.zeros_like(w)), state.setdefault("v", np.zeros_like(w))
        m[:] = 0.9 * m + 0.1 * g
        v[:] = 0.999 * v + 0.001 * g**2
        w -= rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)


def textbook(layers, x, y, batches, rates, hidden, loss, optimiser, trained, decay=0.0, decay_biases=False):
    layers, states = [w.astype(float) for w in layers], [{} for _ in layers]
    for t, (batch, rate) in enumerate(zip(batches, rates, strict=True), start=1):
        gradients = slopes(layers, x[batch], y[batch], hidden, loss)
        for w, g, state, learns in zip(layers, gradients, states, trained, strict=True):
            if learns:
                g[:-1] += decay * w[:-1]
                g[-1] += decay * decay_biases * w[-1]
                if optimiser == "normalised" and g.any():
                    g /= np.linalg.norm(g)
                textbook_update(optimiser, w, g, state, rate, t)
    return layers


def textbooks(layers, x, y, batches, rates, hidden, loss, optimiser="sgd", trained=None, decay=0.0, **how):
    """Each member by itself; of what has an axis of members, it takes its own."""
    results = [
        textbook(
            [w[m] for w in arrays(layers)], x.astype(float), y[m] if y.ndim == 3 else y,
            batches[:, m] if batches.ndim == 3 else batches, rates[:, m] if rates.ndim == 2 else rates,
            hidden, loss, optimiser, trained or [True] * len(layers),
            decay[m] if np.ndim(decay) else decay, **how,
        )
        for m in range(layers[0].shape[0])
    ]  # fmt: skip
    return [np.stack(w) for w in zip(*results, strict=True)]


def near(result, wanted, rtol, atol):
    for a, b in zip(arrays(result), arrays(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def fit(layers, x, *problem, **how):
    return train.fit(layers, train.Inputs(x), *problem, **how)


# Problems for it


def inputs(dtype, seed=0):
    """Some zeros everywhere, and columns 2 and 5 zero in every example."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(N, D)) * (rng.random((N, D)) > 0.3)).astype(dtype)
    x[:, [2, 5]] = 0
    return x


def targets(loss, members=None, seed=1):
    rng = np.random.default_rng(seed)
    shape = (N, K) if members is None else (members, N, K)
    if loss == "squared error":
        return rng.normal(size=shape)
    if loss in ("binary cross-entropy", "quadratic"):
        return rng.random(shape)
    return rng.dirichlet(np.ones(K), shape[:-1])


def batches(members=None, steps=7, size=5, seed=2):
    """With an example that comes twice in a batch."""
    rng = np.random.default_rng(seed)
    b = rng.integers(0, N, (steps, size) if members is None else (steps, members, size))
    b[..., 1] = b[..., 0]
    return b


def start(members, depth, dtype=np.float32, width=6, seed=3):
    rng = np.random.default_rng(seed)
    sizes = [D, *range(width, width + depth - 1), K]
    return [tf.constant(rng.normal(size=(members, *s)) * 0.5, dtype) for s in nets.shapes(sizes)]


RATES = np.array([0.05, 0.03, 0.0, 0.05, 0.02, 0.04, 0.01])

# Every loss with every optimiser, and of all that a case says every two things together: activation, depth,
# sharing and targets take turns, frozen layers as well.
MASKS = [(1, 1, 1, 1), (0, 1, 1, 1), (1, 0, 0, 1), (0, 0, 1, 0), (1, 1, 1, 0), (0, 0, 0, 1), (1, 0, 1, 0)]
CASES = [
    (LOSSES[k], HIDDEN[(n + k) % 3], OPTIMISERS[n], (i // 2 + n) % 2 == 0, (i // 5 + k) % 2 == 1)
    + (1 + (3 * n + k) % 4, MASKS[i % 7])
    for i, (n, k) in enumerate(itertools.product(range(5), range(4)))
]
SOME = random.Random(23).sample(CASES, 6)


@pytest.mark.parametrize(
    "dtype, tolerance, case",
    [*((np.float64, 1e-11, case) for case in CASES), *((np.float32, 2e-5, case) for case in SOME)],
    ids=lambda c: "-".join(map(str, c[:3])) if isinstance(c, tuple) else getattr(c, "__name__", None),
)
def test_against_the_textbook(dtype, tolerance, case):
    loss, hidden, optimiser, shared, own_targets, depth, mask = case
    members = 3
    trained = [bool(m) for m in mask[-depth:]]
    if not any(trained):
        trained[0] = True
    layers, x = start(members, depth, dtype), inputs(dtype)
    y, b = targets(loss, members if own_targets else None), batches(None if shared else members)
    how = {"hidden": hidden, "loss": loss, "optimiser": optimiser, "trained": trained}
    result = fit(layers, x, y, b, RATES, **how)
    assert [(w.shape, w.dtype) for w in result] == [(w.shape, w.dtype) for w in layers]
    near(result, textbooks(layers, x, y, b, RATES, **how), tolerance, tolerance)
    moved = [(a != b).any() for a, b in zip(arrays(result), arrays(layers), strict=True)]
    assert moved == trained, "a frozen layer keeps its bits, another one learns"
    unused = [2, 5]
    assert np.array_equal(arrays(result)[0][:, unused], arrays(layers)[0][:, unused])


def test_the_cases_meet_every_depth_and_kind_of_batch():
    """The textbook is only as good as what it is asked."""
    counts = (4, 3, 5, 2, 2, 4)
    for a, count in enumerate(counts):
        assert len({case[a] for case in SOME}) == count
        for b in range(a):
            assert len({(case[a], case[b]) for case in CASES}) == count * counts[b], "every pair of them"


@pytest.mark.parametrize(
    "optimiser, rule",
    [
        ("momentum", tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)),
        ("adagrad", tf.compat.v1.train.AdagradOptimizer(0.1)),
        ("adam", tf.compat.v1.train.AdamOptimizer(0.1)),
    ],
)
def test_update_rules_against_the_kernels_of_tensorflow_1(optimiser, rule):
    variable, rate = tf.Variable(np.ones(5)), tf.constant(0.1, tf.float64)
    slots, update = train.OPTIMISERS[optimiser]
    w, state = tf.ones(5, tf.float64), tuple(tf.constant(s, tf.float64, shape=5) for s in slots)
    for t, g in enumerate(np.random.default_rng(0).normal(size=(6, 5)), start=1):
        rule.apply_gradients([(tf.constant(g), variable)])
        w, state = update(w, tf.constant(g), state, rate, tf.constant(t))
        # TensorFlow 1 keeps its constants in float32
        np.testing.assert_allclose(w, variable.numpy(), rtol=1e-6)


ONE_HOT = np.eye(4)[[1, 2]]


@pytest.mark.parametrize(
    "loss, z, y, wanted",
    [
        ("cross-entropy", np.zeros((3, 2, 4)), ONE_HOT, np.full((3, 2), np.log(4))),
        ("cross-entropy", [[1000.0, 0]], [[0, 1.0]], [1000]),
        ("cross-entropy", np.log([[1.0, 3]]), [[0.5, 0.5]], [np.log(4) - np.log(3) / 2]),
        ("binary cross-entropy", np.zeros((2, 4)), ONE_HOT, np.full(2, 4 * np.log(2))),
        ("binary cross-entropy", [[-800.0, 800]], [[1, 0.5]], [1200]),
        ("binary cross-entropy", np.log([[3.0, 1]]), [[0.5, 1.0]], [np.log(8) - np.log(3) / 2]),
        ("squared error", [[1.0, 2]], [[0, 4.0]], [2.5]),
        ("quadratic", np.zeros((2, 4)), ONE_HOT, [0.5, 0.5]),
        ("quadratic", [[1000.0, -1000]], [[0, 1.0]], [1]),
        ("quadratic", np.log([[3.0, 1]]), [[0.5, 1.0]], [1 / 32 + 1 / 8]),
    ],
)
def test_losses_in_closed_form(loss, z, y, wanted):
    value = train.LOSSES[loss].value(tf.constant(z, tf.float64), tf.constant(y, tf.float64))
    np.testing.assert_allclose(value, wanted)


def test_the_quadratic_gradient_vanishes_with_the_slope_of_the_output():
    delta = train.LOSSES["quadratic"].delta(tf.constant([[0.0, 1000, -1000]]), tf.constant([[1.0, 0, 1]]))
    assert delta.numpy().tolist() == [[-0.125, 0, 0]], "(a - y) a (1 - a): none for outputs that are stuck"


def in_parts(cuts, state, layers, x, y, b, rates, **how):
    for piece in np.split(np.arange(len(b)), cuts):
        layers = train.fit(layers, x, y, b[piece], rates[piece], state=state(), **how)
    return layers


@pytest.mark.parametrize("optimiser, shared", [
    ("sgd", True), ("momentum", True), ("adagrad", False), ("adam", True), ("normalised", False),
])  # fmt: skip
def test_an_optimiser_continues_from_its_state(optimiser, shared):
    """In three parts as in one, to the bit; without the state, whoever remembers starts anew."""
    x, y = train.Inputs(inputs(np.float32)), targets("quadratic")
    problem = start(3, 3), x, y, batches(None if shared else 3), RATES
    how = QUADRATIC | {"optimiser": optimiser, "decay": 0.01}
    whole = train.fit(*problem, **how)
    state = train.State()
    assert same(whole, in_parts([3, 4], lambda: state, *problem, **how))
    assert state.steps == 7
    remembers = optimiser not in ("sgd", "normalised")
    assert same(whole, in_parts([3, 4], train.State, *problem, **how)) == (not remembers)
    fresh = in_parts([3, 4], lambda: None, *problem, **how)
    assert same(fresh, in_parts([3, 4], train.State, *problem, **how)), "no state is a new one"


@pytest.mark.parametrize(
    "change",
    [
        {"optimiser": "adagrad"}, {"optimiser": "sgd"}, {"optimiser": "adam"}, {"decay": 0.0},
        {"layers": start(2, 3)}, {"batches": batches(3)},
        {"layers": start(3, 3, np.float64), "inputs": train.Inputs(inputs(np.float64))},
    ],
    ids=lambda change: " ".join(change),
)  # fmt: skip
def test_a_state_of_another_training_is_refused(change):
    """Also where the tensors would fit: momentum's and Adagrad's have the same shapes."""
    how = QUADRATIC | {
        "layers": start(3, 3), "inputs": train.Inputs(inputs(np.float32)), "targets": targets("quadratic"),
        "batches": batches(), "rates": RATES, "optimiser": "momentum", "decay": 0.01, "state": train.State(),
    }  # fmt: skip
    train.fit(**how)
    with pytest.raises(ValueError, match="state must be of the same optimiser, networks and inputs"):
        train.fit(**how | change)


def test_one_graph_serves_all_lengths_decays_and_images(monkeypatch):
    """Tracing takes longer than a short training."""
    train._loop.cache_clear()
    traced, loop = [], tf.while_loop
    monkeypatch.setattr(tf, "while_loop", lambda *a, **k: traced.append(1) or loop(*a, **k))
    x, y = inputs(np.float32), targets(LOSSES[0])
    for decay in (0.0, 0.1, 0.2):
        for steps, count, off in ((7, N, 0), (3, N - 1, 1), (5, N, 2)):
            seen = x[:count] * (np.arange(x.shape[1]) >= off)
            how = {"hidden": "tanh", "loss": LOSSES[0], "decay": decay}
            fit(start(3, 3), seen, y[:count], batches(steps=steps) % count, RATES[:steps], **how)
    assert len(traced) == 2, "without decay and with"


# Blocks: the first layer is left as it is for a block of small batches


@pytest.fixture
def blocks(monkeypatch):
    """Batches in a block of each loop that was run."""
    run, loop = [], train._loop
    monkeypatch.setattr(train, "_loop", lambda *a: run.append(a[-1]) or loop(*a))
    return run


def block_problem(steps, size, depth, loss, members, own_targets=False, dtype=np.float64):
    """With a rate of its own for every step."""
    rates = np.random.default_rng(5).random(steps) * 0.3 / size
    y = targets(loss, members if own_targets else None)
    return start(members, depth, dtype), inputs(dtype), y, batches(steps=steps, size=size), rates


@pytest.mark.parametrize(
    "steps, size, run, depth, change",
    [
        (43, 5, [20, 1], 1, {}),  # two blocks, three batches left
        (43, 5, [20, 1], 3, {"trained": [True, False, True]}),  # frozen layers above
        (43, 5, [20, 1], 2, {"own": [1.0, 0.25]}),  # rates of each member's own
        (43, 5, [20, 1], 2, {"dtype": np.float32}),
        (20, 5, [20], 3, {}),
        (19, 5, [1], 1, {}),  # not one block
        (18, 20, [5, 1], 3, {}),  # the largest batch with blocks
        (30, 7, [14, 1], 1, {}),  # 100 is no multiple of 7
        (7, 21, [1], 2, {"own": [1.0, 2.0]}),
    ],
)
def test_blocks_are_the_textbook(steps, size, run, depth, change, blocks):
    """To a relative 1e-10; rounding alone, in another order of additions, is nearer 1e-14."""
    loss = ("quadratic", "binary cross-entropy", "squared error")[depth - 1]
    how = {"hidden": ("sigmoid", "tanh", "relu")[depth - 1], "loss": loss}
    how["trained"] = change.get("trained", [True] * depth)
    dtype, tolerance = change.get("dtype", np.float64), (1e-10, 1e-12)
    if dtype == np.float32:
        tolerance = 2e-5, 2e-5  # its rounding
    *problem, rates = block_problem(steps, size, depth, loss, 2, own_targets=depth == 3, dtype=dtype)
    rates = rates[:, None] * change["own"] if "own" in change else rates
    result = fit(*problem, rates, **how)
    assert blocks == run
    near(result, textbooks(*problem, rates, **how), *tolerance)
    for a, b, learns in zip(arrays(result), arrays(problem[0]), how["trained"], strict=True):
        assert ((np.abs(a - b).max(axis=(1, 2)) > 1e-3) == learns).all(), "each member has learned"


@pytest.mark.parametrize(
    "change",
    [{"optimiser": "momentum"}, {"optimiser": "normalised"}, {"decay": 0.1}, {"trained": [False, True]}, {}],
    ids=str,
)
def test_blocks_are_left_where_the_rule_needs_every_step(change, blocks):
    """Or where members have batches of their own."""
    layers, x, y, b, rates = block_problem(40, 5, 2, "quadratic", 2)
    fit(layers, x, y, b if change else np.stack([b, b[::-1]], axis=1), rates, **QUADRATIC, **change)
    assert blocks == [1]


def test_blocks_continue_where_others_ended():
    """To the bit after whole blocks; cut elsewhere the blocks are other ones, and the rounding is."""
    layers, x, *rest = block_problem(63, 5, 3, "quadratic", 3)
    problem = layers, train.Inputs(x), *rest
    whole = train.fit(*problem, **QUADRATIC)
    state = train.State()
    assert same(whole, in_parts([20, 60], lambda: state, *problem, **QUADRATIC))
    assert state.steps == 63
    near(whole, in_parts([13, 37], train.State, *problem, **QUADRATIC), 1e-10, 1e-12)


# The normalised step


def step_of(layers, x, y, shared=True, **how):
    """What one step with rate 1 on all examples changes."""
    members = layers[0].shape[0]
    every = np.arange(len(x))
    b = every[None] if shared else np.tile(every, (1, members, 1))
    result = fit(layers, x, y, b, [1.0], optimiser="normalised", **how)
    return [a - c for a, c in zip(arrays(layers), arrays(result), strict=True)]


@pytest.mark.parametrize("dtype, scale, shared", [
    (np.float64, 1e-200, True), (np.float64, 1e200, False),
    (np.float32, 1e-30, False), (np.float32, 1e30, True),
])  # fmt: skip
def test_the_squares_of_a_gradient_neither_vanish_nor_overflow(dtype, scale, shared):
    """From weights of zero the gradient of a squared error is as large as the targets; the step is not."""
    layers = [tf.zeros((3, D + 1, K), dtype)]
    x, y = inputs(dtype), targets("squared error")
    how = {"hidden": "tanh", "loss": "squared error"}
    (plain,) = step_of(layers, x, y, shared, **how)
    (scaled,) = step_of(layers, x, y * scale, shared, **how)
    assert np.abs(plain).max() > 0.1
    np.testing.assert_allclose(scaled, plain, rtol=10 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


@pytest.mark.parametrize("shared", [True, False])
def test_a_normalised_step_is_as_long_as_the_rate_and_without_a_gradient_there_is_none(shared):
    """In each layer of each member. Member 1 has outputs that are stuck, so no gradient anywhere; the layer
    below zeros has none either.
    """
    layers = [np.array(w) for w in start(3, 2, np.float64)]
    layers[1][0, :-1] = 0
    layers[1][1], layers[1][1, -1] = 0, 1000
    layers = [tf.constant(w) for w in layers]
    step = step_of(layers, inputs(np.float64), targets("quadratic"), shared, **QUADRATIC)
    lengths = [np.sqrt((s**2).sum(axis=(1, 2))) for s in step]
    assert [n[1] for n in lengths] == [0, 0]
    assert lengths[0][0] == 0
    np.testing.assert_allclose([lengths[1][0], lengths[0][2], lengths[1][2]], 1, rtol=1e-12)


# Decay


@pytest.mark.parametrize("optimiser, biases, members", [
    ("sgd", True, None), ("sgd", False, 2), ("momentum", False, None), ("adagrad", True, 2),
    ("adam", False, 2), ("normalised", True, None),
])  # fmt: skip
def test_decay_is_a_gradient_of_the_weights_and_if_told_of_the_biases(optimiser, biases, members):
    """Against the textbook, with a frozen layer that does not decay either."""
    how = QUADRATIC | {"optimiser": optimiser, "trained": [True, False, True]}
    how |= {"decay": 0.3, "decay_biases": biases}
    problem = start(2, 3, np.float64), inputs(np.float64), targets("quadratic"), batches(members), RATES
    near(fit(*problem, **how), textbooks(*problem, **how), 1e-11, 1e-11)


def test_weights_of_an_input_that_is_never_there_decay_in_closed_form():
    layers, x, y = start(2, 2, np.float64), inputs(np.float64), targets("quadratic")
    problem = (layers, x, y, batches(), RATES)
    before, after = (arrays(w)[0][:, [2, 5]] for w in (layers, fit(*problem, **QUADRATIC, decay=0.3)))
    factor = np.prod(1 - 0.3 * RATES)
    assert factor < 0.95
    np.testing.assert_allclose(after, factor * before, rtol=1e-12)
    assert same(fit(*problem, **QUADRATIC), fit(*problem, **QUADRATIC, decay=0.0, decay_biases=True))


# A rate and a decay for each member, and XLA


@pytest.mark.parametrize("depth, shared, compiled", [
    (1, True, False), (2, True, True), (3, False, False), (3, True, False), (2, False, True),
])  # fmt: skip
def test_members_have_rates_and_decays_of_their_own(depth, shared, compiled):
    """Each is the textbook's network at its own rate and decay."""
    layers, x, y = start(3, depth, np.float64), inputs(np.float64), targets("cross-entropy")
    problem = layers, x, y, batches(None if shared else 3), RATES[:, None] * [1.0, 0.25, 2.0]
    how = {"hidden": "relu", "loss": "cross-entropy", "decay": [0.3, 0.0, 0.1]}
    near(fit(*problem, **how, compiled=compiled), textbooks(*problem, **how), 1e-11, 1e-11)


@pytest.mark.parametrize("optimiser", OPTIMISERS[1:])
def test_one_program_of_xla_gives_the_same(optimiser):
    """Also to the bit, twice; plain steps by tiles, see below."""
    problem = start(2, 3, np.float64), inputs(np.float64), targets("quadratic"), batches(), RATES
    how = QUADRATIC | {"optimiser": optimiser, "decay": 0.1}
    compiled = fit(*problem, **how, compiled=True)
    near(compiled, textbooks(*problem, **how), 1e-10, 1e-12)
    assert same(compiled, fit(*problem, **how, compiled=True))


# Programs of XLA: the first layer by tiles


@pytest.mark.parametrize(
    "members, depth, size, width, own_batches",
    [
        (1, 1, 1, 6, False), (3, 2, 5, 8, False), (1, 3, train.TERMS, 3, False),
        (3, 2, train.TERMS + 1, 6, False), (1, 1, 40, 17, False), (1, 3, 1, 8, True),
        (3, 2, 5, 6, True), (1, 3, train.TERMS + 1, 17, True),
    ],
)  # fmt: skip
def test_tiles_are_the_textbook(members, depth, size, width, own_batches):
    """Whatever fills tiles, lines and registers or does not, with targets of each member's own."""
    rng = np.random.default_rng(size)
    x = rng.normal(size=(N, 2 * train.TILE + width)) * (rng.random((N, 1)) < 0.8)
    x[:, 3] = 0
    layers = [
        tf.constant(rng.normal(size=(members, *s)) * 0.3)
        for s in nets.shapes([x.shape[1], *[width] * (depth - 1), K])
    ]
    b = batches(members if own_batches else None, size=size) if size > 1 else rng.integers(0, N, (7, 1))
    b = b if b.ndim == 3 or not own_batches else np.stack([b] * members, axis=1)
    problem = layers, x, targets("quadratic", members), b, RATES / size
    for decay in (0.0, np.linspace(0.1, 0.3, members)):
        result = fit(*problem, **QUADRATIC, decay=decay, compiled=True)
        near(result, textbooks(*problem, **QUADRATIC, decay=decay), 1e-11, 1e-12)
        assert all((a != b).any() for a, b in zip(arrays(result), arrays(layers), strict=True))


def test_whoever_has_batches_of_its_own_is_trained_alone():
    """To the bit, whoever else is there, and the optimiser's state counts on."""
    layers, x, y, b = start(3, 2), inputs(np.float32), targets("quadratic"), batches(3)
    state, how = train.State(), QUADRATIC | {"compiled": True}
    result = arrays(fit(layers, x, y, b, RATES, **how, state=state))
    assert state.steps == len(b)
    for m in range(3):
        alone = fit([w[m : m + 1] for w in layers], x, y, b[:, m], RATES, **how)
        assert same([w[m : m + 1] for w in result], alone)
    again = in_parts([3], lambda: None, layers, train.Inputs(x), y, b, RATES, **how)
    assert same(result, again), "cut anywhere"
    with pytest.raises(ValueError, match="state must be of the same optimiser"):
        fit(layers, x, y, b, RATES, **QUADRATIC, optimiser="momentum", state=state)


# Pixels


PIXELS = np.random.default_rng(4).integers(0, 256, (N, D), dtype=np.uint8)
PIXELS[:, 2] = 0


@pytest.mark.parametrize("divisor, dtype, decay, compiled", [
    (255, "float32", 0.0, True), (256, "float32", 0.1, True), (256, "float32", 0.0, True),
    (256, "float32", 0.0, False), (255, "float64", 0.1, False),
])  # fmt: skip
def test_pixels_are_the_inputs_that_they_are_scaled_to(divisor, dtype, decay, compiled):
    """To the bit, in training and in the gradient."""
    pixels, scaled = train.Inputs(PIXELS, divisor, dtype), data.scale(PIXELS, divisor, dtype)
    given = train.Inputs(scaled)
    layers, y = start(2, 2, dtype), targets("quadratic")
    for b in (batches(), batches(2)):
        how = QUADRATIC | {"decay": decay, "compiled": compiled}
        ends = [train.fit(layers, each, y, b, RATES, **how) for each in (pixels, given)]
        assert same(*ends) and not same(ends[0], layers)
    slopes = [train.gradient(layers, each, y, slice(2, 9), **QUADRATIC) for each in (pixels, given)]
    assert same(*slopes)
    assert np.array_equal(pixels.x, scaled) and pixels.dtype == given.dtype == dtype
    assert np.array_equal(pixels.part(slice(3, 5)), scaled[3:5])
    assert np.array_equal(pixels.seen, given.seen) and np.array_equal(pixels.whole, given.whole)


@pytest.mark.parametrize("x, divisor, dtype, message", [
    (PIXELS[0], 255, "float32", "x must be a matrix of pixels"),
    (PIXELS.astype(float), 255, "float32", "x must be a uint8 array"),
    (PIXELS, 254, "float32", "divisor must be 255 or 256"),
    (PIXELS, 255, "float16", "dtype must be float32 or float64"),
    *((x, None, "float32", "x must be a finite float32 or float64 matrix") for x in (
        PIXELS, np.zeros(3, np.float32), np.zeros((2, 3), int), [[np.nan, 1.0]], [[np.inf]], [["a"]],
        np.zeros((2, 2, 2)),
    )),
])  # fmt: skip
def test_inputs_refuse(x, divisor, dtype, message):
    with pytest.raises(ValueError, match=message):
        train.Inputs(x, divisor, dtype)


# The gradient of the mean loss


@pytest.mark.parametrize(
    "loss, hidden, piece", [*zip(LOSSES, (*HIDDEN, "tanh"), (5, 12, 1000, 5), strict=True)]
)
def test_the_mean_gradient_is_that_of_the_stated_loss(loss, hidden, piece, monkeypatch):
    monkeypatch.setattr(train, "PIECE", piece)
    x, y = inputs(np.float64), targets(loss)
    for depth, examples in ((1, slice(None)), (2, slice(3, 10)), (3, slice(None)), (3, slice(7))):
        layers = start(2, depth, np.float64)
        result = train.gradient(layers, train.Inputs(x), y, examples, hidden=hidden, loss=loss)
        assert [(g.shape, g.dtype) for g in result] == [(w.shape, tf.float64) for w in layers]
        for m in range(2):
            wanted = slopes([w[m] for w in arrays(layers)], x[examples], y[examples], hidden, loss)
            near([g[m] for g in result], [g / len(x[examples]) for g in wanted], 1e-11, 1e-13)


@pytest.mark.parametrize("change, message", [
    ({"hidden": "swish"}, "hidden must be one of .*'swish'"),
    ({"loss": "hinge"}, "loss must be one of .*'hinge'"),
    *(({"examples": none}, "examples must be at least one, got none") for none in (slice(0), slice(N, None))),
    ({"examples": slice(0, N, 2)}, "examples must be a slice of consecutive ones"),
])  # fmt: skip
def test_gradient_refuses(change, message):
    arguments = {"examples": slice(None), "hidden": "tanh", "loss": "quadratic"} | change
    with pytest.raises(ValueError, match=message):
        train.gradient(start(2, 2), train.Inputs(inputs(np.float32)), targets("quadratic"), **arguments)


# Laws of an ensemble

# 16 members: every element-wise operation then works on whole vectors of the processor. Numbers left over at
# the end of an array may be rounded differently.
CHUNK = 16
SETTINGS = [
    ("tanh", "cross-entropy", "sgd", True, 7),
    ("sigmoid", "quadratic", "sgd", True, 43),  # in blocks
    ("sigmoid", "binary cross-entropy", "adagrad", True, 7),
    ("sigmoid", "quadratic", "normalised", True, 7),
    ("relu", "squared error", "momentum", False, 7),
    ("tanh", "cross-entropy", "adam", False, 7),
]


def train_members(setting, which, alter=None, dtype=np.float32, depth=3):
    """Train the members with these numbers out of a fixed endless ensemble."""
    hidden, loss, optimiser, shared, steps = setting
    shapes = nets.shapes([D, *range(7, 7 + depth - 1), K])
    layers = [tf.cast(w, dtype) for w in nets.truncated_normal([int(m) for m in which], shapes, 0.5, 0.1)]
    layers = layers if alter is None else alter(layers)
    b = batches(steps=steps) if shared else np.stack([batches(seed=int(m)) for m in which], axis=1)
    how = {"hidden": hidden, "loss": loss, "optimiser": optimiser}
    return fit(layers, inputs(dtype), targets(loss), b, np.resize(RATES, steps), **how)


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda s: "-".join(map(str, s)))
def chunk(request):
    """A setting, and what comes of its chunk."""
    return request.param, arrays(train_members(request.param, range(CHUNK)))


def test_a_member_is_the_same_to_the_bit_whatever_the_others_are(chunk):
    setting, result = chunk
    order = np.random.default_rng(0).permutation(CHUNK)
    assert same([layer[order] for layer in result], train_members(setting, order)), "other places"
    others = np.where(np.arange(CHUNK) == 5, 5, np.arange(CHUNK) + 100)
    replaced = arrays(train_members(setting, others))
    assert same([layer[5] for layer in result], [layer[5] for layer in replaced]), "other company"
    assert not np.array_equal(result[0][4], replaced[0][4])
    copies = arrays(train_members(setting, [3] * CHUNK))
    assert all((layer == layer[:1]).all() for layer in copies), "copies of one member stay equal"


def test_chunk_sizes_agree_to_rounding(chunk):
    setting, whole = chunk
    for size, first in ((1, 0), (3, CHUNK - 3)):
        part = train_members(setting, range(first, first + size))
        near(part, [w[first : first + size] for w in whole], 1e-5, 3e-6)
    assert same(whole, train_members(setting, range(CHUNK))), "other sizes in between change nothing"


def test_a_member_that_is_lost_touches_no_other(chunk):
    setting, calm = chunk
    value = (np.nan, np.inf, 3e38)[SETTINGS.index(setting) % 3]

    def spoil(layers):
        spoiled = [np.array(layer) for layer in layers]
        for layer in spoiled:
            layer[6] = value
        return [tf.constant(layer) for layer in spoiled]

    result = arrays(train_members(setting, range(CHUNK), spoil))
    assert not np.isfinite(result[0][6]).all() or np.abs(result[0][6]).max() > 1e37
    others = np.arange(CHUNK) != 6
    assert same([layer[others] for layer in calm], [layer[others] for layer in result])
    assert all(np.isfinite(layer[others]).all() for layer in result)


def test_members_that_diverge_in_training_touch_no_other():
    """Targets of their own so large that squared errors blow up in some members."""
    y = np.stack([targets("squared error", seed=m) for m in range(CHUNK)])
    wild = y.copy()
    wild[[1, 15]] *= 1e30
    layers, x, how = start(CHUNK, 3), inputs(np.float32), {"hidden": "relu", "loss": "squared error"}
    calm, ill = (arrays(fit(layers, x, t, batches(), RATES, **how)) for t in (y, wild))
    others = np.setdiff1d(np.arange(CHUNK), [1, 15])
    assert all(not np.isfinite(ill[0][m]).all() for m in (1, 15))
    assert same([layer[others] for layer in calm], [layer[others] for layer in ill])


def test_inputs_that_are_never_seen_do_not_change_the_result():
    """Zero columns are left out; a last example that no batch names keeps them in."""
    x, y, layers = inputs(np.float32), targets(LOSSES[0]), start(CHUNK, 3)
    more = np.vstack([x, np.ones((1, D), np.float32)])
    assert len(train.Inputs(more).used) == D + 1 and len(train.Inputs(x).used) == D - 1
    how = {"hidden": "tanh", "loss": LOSSES[0]}
    within = fit(layers, more, np.vstack([y, y[:1]]), batches(), RATES, **how)
    near(fit(layers, x, y, batches(), RATES, **how), within, 1e-5, 1e-6)


def test_all_inputs_zero_trains_the_biases_alone():
    layers, x, how = start(2, 2), np.zeros((N, D), np.float32), {"hidden": "tanh", "loss": LOSSES[0]}
    result = fit(layers, x, targets(LOSSES[0]), batches(), RATES, **how)
    assert np.array_equal(arrays(result)[0][:, :-1], arrays(layers)[0][:, :-1])
    assert (arrays(result)[0][:, -1] != arrays(layers)[0][:, -1]).all()


# Batches


def test_cycled_goes_round_in_fixed_order():
    assert train.cycled(6, 2, 4).tolist() == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert train.cycled(3, 3, 2).tolist() == [[0, 1, 2]] * 2
    assert np.issubdtype(train.cycled(3, 1, 2).dtype, np.integer)


@pytest.mark.parametrize("arguments, message", [
    ((10, 3, 1), "a batch of 3 does not divide 10"), ((10, 20, 1), "a batch of 20 does not divide 10"),
    *((wrong, "at least 1") for wrong in ((0, 1, 1), (10, 0, 1), (10, 5, 0), (10, -5, 1))),
    *((wrong, "whole") for wrong in ((10, 2.5, 1), (10, 5, 1.5), (10, np.nan, 1))),
])  # fmt: skip
def test_cycled_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        train.cycled(*arguments)


# Bad input


LAYERS, TILED = start(3, 3), RATES[:, None] * np.ones(3)
BAD = [
    ("hidden", ["swish"], "hidden must be one of .*'swish'"),
    ("loss", ["hinge"], "loss must be one of .*'hinge'"),
    ("optimiser", ["Adam"], "optimiser must be one of .*'Adam'"),
    ("trained", [[True]], "trained must hold 3 flags"),
    ("trained", [[False] * 3], "trained must hold 3 flags, at least one true"),
    ("layers", [LAYERS[1:]], "inputs are float32 with 9 columns, the first layer is float32 and takes 6"),
    ("layers", [start(3, 3, np.float64)], "inputs are float32 with 9 columns, the first layer is float64"),
    ("layers", [[], [LAYERS[0], LAYERS[2]], [*LAYERS[:2], start(2, 3)[2]]], "layers"),
    ("targets", [np.zeros(s) for s in ((N, K + 1), (N - 1, K), (1, 1, N, K))], r"targets must be \(12, 4\)"),
    ("targets", [np.zeros((2, N, K)), np.zeros((1, N, K))], "targets must be"),
    ("batches", [np.zeros(3, int)], "batches must be"),
    ("batches", [np.zeros((7, 2, 5), int)], r"batches must be \(T, B\) or \(T, 3, B\)"),
    ("batches", [np.zeros((7, 0), int), np.full((7, 5), 1.5), np.full((7, 5), np.nan)], "batches must"),
    ("batches", [np.full((7, 5), N), np.full((7, 5), -1)], "batches must hold example numbers from 0 to 11"),
    ("rates", [RATES[:-1], 0.1, np.full(7, np.nan), np.full(7, np.inf), -RATES, TILED[:, :2]],
     "rates must be 7 finite numbers"),
    ("decay", [-0.1, np.nan, np.inf], "decay must be a finite number of at least 0, got {}"),
    ("decay", [[0.1, 0.1]], "one for each of 3 members"),
    ("decay", [[0.1, 0.1, -0.1]], "decay must be a finite number of at least 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    "change, message",
    [
        *(({name: v}, message.format(v)) for name, values, message in BAD for v in values),
        ({"batches": np.zeros((0, 5), int), "rates": []}, "batches must"),
        ({"rates": TILED, "optimiser": "adam"}, "rates must be 7 finite numbers"),
    ],
)
def test_fit_refuses_before_it_trains(change, message, monkeypatch):
    monkeypatch.setattr(train, "_loop", lambda *_: pytest.fail("trained"))
    arguments = {
        "layers": LAYERS, "inputs": train.Inputs(inputs(np.float32)), "targets": targets(LOSSES[0]),
        "batches": batches(), "rates": RATES, "hidden": "tanh", "loss": LOSSES[0],
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        train.fit(**arguments | change)
