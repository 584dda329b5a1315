"""Convolutional networks and their training against those of Keras; the laws of an ensemble."""

import functools
import itertools

import numpy as np
import pytest
from alike import arrays, same
from scipy import stats

from lib import convnets, curvature
from lib.backend import tf
from lib.convnets import Design

keras = tf.keras

# Every number of blocks with every number of dense layers, and both rectifiers with each; widths differ, so
# that no two axes can be mixed up.
DESIGNS = [
    Design(channels, dense, 0.125 * ((i + k) % 2))
    for i, channels in enumerate([(3,), (3, 2), (2, 3, 4)])
    for k, dense in enumerate([(), (5,), (6, 4)])
]
EACH_DEPTH = [Design((3,), (5,)), Design((3, 2), (6, 4), 0.125), Design((2, 3, 4), ())]
DEFAULT = Design()


def name(design):
    return f"{design.channels}-{design.dense}-{design.slope}"


def every(designs):
    return pytest.mark.parametrize("design", designs, ids=name)


# The oracle: one network at a time, as anyone would write it in Keras, float64.


@functools.cache
def network(design):
    """Gives the activations of every hidden layer, and the output's pre-activation."""

    def rectified(h):
        return keras.layers.LeakyReLU(negative_slope=design.slope, dtype="float64")(h)

    h = inputs = keras.Input((28, 28, 1), dtype="float64")
    hidden = []
    for channels in design.channels:
        h = rectified(keras.layers.Conv2D(channels, 3, dtype="float64")(h))
        h = keras.layers.MaxPooling2D(2, dtype="float64")(h)
        hidden.append(h)
    h = keras.layers.Flatten(dtype="float64")(h)
    for units in design.dense:
        h = rectified(keras.layers.Dense(units, dtype="float64")(h))
        hidden.append(h)
    return keras.Model(inputs, [*hidden, keras.layers.Dense(10, dtype="float64")(h)])


def oracle(layers, design):
    """The network with these weights."""
    model, parts = network(design), [part for w in layers for part in (w[:-1], w[-1])]
    model.set_weights([np.reshape(p, v.shape) for p, v in zip(parts, model.weights, strict=True)])
    return model


def as_layers(variables):
    pairs = zip(variables[::2], variables[1::2], strict=True)
    return [np.vstack([np.reshape(w, (-1, w.shape[-1])), b]) for w, b in pairs]


def outputs(model, x):
    return model(tf.constant(x.reshape(-1, 28, 28, 1), tf.float64))


def oracle_slope(model, x, y):
    """Mean loss, its gradient in the shapes of the variables, and the outputs."""
    with tf.GradientTape() as tape:
        z = outputs(model, x)[-1]
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z))
    return loss.numpy(), tape.gradient(loss, model.trainable_variables), z.numpy()


def textbook(layers, x, y, batches, rates, design, momentum=0.0, clip=None):
    """One network after T steps, its velocity, and losses, gradients' norms and mean outputs before each."""
    model, record = oracle(layers, design), []
    rule = keras.optimizers.SGD(momentum=momentum, global_clipnorm=clip)
    rule.build(model.trainable_variables)
    for batch, rate in zip(batches, rates, strict=True):
        loss, gradient, z = oracle_slope(model, x[batch], y[batch])
        record.append((loss, [np.linalg.norm(g) for g in as_layers(gradient)], z.mean(axis=0)))
        rule.learning_rate = rate
        rule.apply(gradient, model.trainable_variables)
    speed = [-v for v in as_layers(rule.momentums)] if momentum else []
    return as_layers(model.trainable_variables), speed, [np.array(part) for part in zip(*record, strict=True)]


# Problems for it


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 784)).astype(np.float32)


def areas(count, seed=0):
    """Large areas of one value, many of them blank; a few pixels of noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 0.5, 1], (count, 7, 7))
    x = np.kron(coarse, np.ones((4, 4))).reshape(count, -1)
    return np.where(rng.random(x.shape) < 0.03, rng.random(x.shape), x).astype(np.float32)


def both(count):
    return np.concatenate([noise(count), areas(count)])


def bits(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (count, 784)).astype(np.float32)


def labels(count, seed=1):
    return np.random.default_rng(seed).integers(0, 10, count)


def start(design, members, dtype=tf.float32, seed=3):
    """Weights and biases at random, so large that outputs differ and that units are on and off."""
    rng, layers = np.random.default_rng(seed), []
    for rows, columns in design.shapes:
        w = rng.normal(size=(members, rows, columns))
        w[:, :-1] *= np.sqrt(2 / rows)
        layers.append(tf.constant(w, dtype))
    return layers


def whole(design, members, dtype=tf.float64, seed=4):
    """Hidden weights of -1, 0 and 1: with whole pixels all values are exact, and many are equal."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(-1, 2, (members, *shape)) for shape in design.shapes[:-1]]
    layers.append(rng.normal(size=(members, *design.shapes[-1])) / 10)
    return [tf.constant(w, dtype) for w in layers]


def member(layers, m):
    return [np.asarray(layer[m]) for layer in layers]


def double(data):
    return tf.cast(data.patches, tf.float64)


def near(result, wanted, tolerance):
    """To this part of the largest entry."""
    assert np.shape(result) == np.shape(wanted)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def all_near(results, wanted, tolerance):
    for a, b in zip(results, wanted, strict=True):
        near(a, b, tolerance)


# Designs


@pytest.mark.parametrize(
    "design, shapes, names",
    [
        (Design((4,), ()), [(10, 4), (13 * 13 * 4 + 1, 10)], "conv 1, output"),
        (Design((4,), (6,)), [(10, 4), (677, 6), (7, 10)], "conv 1, dense, output"),
        (Design((8, 16), ()), [(10, 8), (73, 16), (5 * 5 * 16 + 1, 10)], "conv 1, conv 2, output"),
        (Design((8, 16), (64,)), [(10, 8), (73, 16), (401, 64), (65, 10)], "conv 1, conv 2, dense, output"),
        (Design((2, 3, 4), ()), [(10, 2), (19, 3), (28, 4), (5, 10)], "conv 1, conv 2, conv 3, output"),
        (Design((2, 3, 4), (7, 6)), [(10, 2), (19, 3), (28, 4), (5, 7), (8, 6), (7, 10)],
         "conv 1, conv 2, conv 3, dense 1, dense 2, output"),
    ],
)  # fmt: skip
def test_shapes_and_names_by_hand(design, shapes, names):
    """28 pixels, 26 after a window of 3, 13 pooled; 11 and 5; 3 and 1."""
    assert design.shapes == shapes and design.names == names.split(", ")


def test_lists_and_tuples_are_the_same_design():
    assert Design([3, 2], [5]) == Design((3, 2), (5,))
    assert hash(Design([3, 2], [5])) == hash(Design((3, 2), (5,)))
    assert Design((3, 2), (5,)) != Design((3, 2), (5,), 0.1)


REFUSED = {
    "channels must be 1 to 3 whole numbers": (
        (), (1, 2, 3, 4), (0,), (8, -1), (True,), (8.0,), ("8",), (8, None), (1001,), "8", 8, None,
    ),
    "dense must be 0 to 5 whole numbers": (
        (1,) * 6, (0,), (8, -1), (True,), (8.0,), ("8",), (1001,), "8", 8, None,
    ),
    "slope must be a number from 0 to 1": (-0.1, 1, 1.5, True, False, np.nan, np.inf, "0", None),
}  # fmt: skip


@pytest.mark.parametrize("message, value", [(m, v) for m, values in REFUSED.items() for v in values], ids=str)
def test_what_is_no_design_is_refused(message, value):
    with pytest.raises(ValueError, match=message):
        Design(**{message.split()[0]: value})


# Initialisation

WIDE = Design((16, 24), (30,))
# inputs and outputs that one weight's unit has: 3x3 pixels of each channel on both sides, pooled maps flat
FANS = [(9 * 1, 9 * 16), (9 * 16, 9 * 24), (5 * 5 * 24, 30), (30, 10)]


@pytest.mark.parametrize("init", convnets.INITS)
def test_a_fresh_member_depends_on_its_seed_alone_and_its_layers_are_different_draws(init):
    seeds = [7, 0, 2**31 - 1, 9]
    together = arrays(convnets.initial(seeds, DEFAULT, init))
    assert [w.shape for w in together] == [(4, *shape) for shape in DEFAULT.shapes]
    assert all(w.dtype == np.float32 for w in together)
    for k, seed in enumerate(seeds):
        alone = convnets.initial([np.int64(seed)], DEFAULT, init)
        assert same([w[k : k + 1] for w in together], alone)
    assert all(len({w[k].tobytes() for k in range(4)}) == 4 for w in together)
    *_, first, second, _ = arrays(convnets.initial([7], Design((2,), (6, 6, 6)), init))
    assert first.shape == second.shape and not np.isclose(first[0, :-1], second[0, :-1]).any()


@pytest.mark.parametrize("init, size", [
    ("glorot", lambda fan_in, fan_out: np.sqrt(6 / (fan_in + fan_out))),
    ("faint", lambda fan_in, fan_out: np.sqrt(6 / (fan_in + fan_out)) / 3),
    ("he", lambda fan_in, fan_out: np.sqrt(2 / fan_in)),
    ("small", lambda fan_in, fan_out: 0.01),
])  # fmt: skip
def test_weights_are_uniform_up_to_a_limit_or_normal(init, size):
    """By the test of Kolmogorov and Smirnov; uniform ones come as near to their limit as so many do."""
    layers = arrays(convnets.initial(range(8), WIDE, init))
    for layer, fans in zip(layers, FANS, strict=True):
        w = layer[:, :-1].astype(float).ravel() / size(*fans)
        uniform = init in ("glorot", "faint")
        assert stats.kstest(w, stats.uniform(-1, 2).cdf if uniform else stats.norm.cdf).pvalue > 1e-4
        assert w.std() == pytest.approx(1 / np.sqrt(3) if uniform else 1, rel=5 / np.sqrt(2 * w.size))
        if uniform:
            assert 1 - 15 / w.size < np.abs(w).max() <= 1 + 1e-6  # missed once in three million draws


def test_biases_start_at_zero_but_those_that_switch_off():
    for init in convnets.INITS:
        first, *above = arrays(convnets.initial([1, 2], DEFAULT, init))
        assert all((w[:, -1] == 0).all() for w in above)
        assert (first[:, -1] < -1e5).all() if init == "dead" else (first[:, -1] == 0).all()
    dead, glorot = (convnets.initial([1, 2], DEFAULT, init) for init in ("dead", "glorot"))
    assert same([dead[0][:, :-1], *dead[1:]], [glorot[0][:, :-1], *glorot[1:]])


@every([Design((3,), (5,)), Design((3, 2), (6, 4)), Design((2, 3, 4), ())])
def test_dead_networks_have_no_gradient_but_at_the_bias_of_the_output(design):
    layers = convnets.initial([5, 6], design, "dead")
    for x in (noise(12), 255 * areas(12), np.full((12, 784), 1000, np.float32)):
        data = convnets.images(x, labels(12), design)
        hidden, _ = convnets.forward(layers, data.patches, design)
        assert all((h.numpy() == 0).all() for h in hidden)
        *below, output = convnets.gradient(layers, data, design)
        assert all((g == 0).all() for g in below)
        assert (output[:, :-1] == 0).all() and (output[:, -1] != 0).any()
        assert (convnets.look(layers, data, design).dead == 1).all()


def test_bad_seeds_and_initialisations_are_refused():
    for seeds in ([], [-1], [2**31], [1.0], ["1"], [0, None]):
        with pytest.raises(ValueError, match="seeds must"):
            convnets.initial(seeds, DEFAULT, "he")
    with pytest.raises(ValueError, match="init must be one of .*'zeros'"):
        convnets.initial([0], DEFAULT, "zeros")


# Images


@pytest.mark.parametrize("channels, side", [((1,), 13), ((1, 1), 12), ((1, 1, 1), 10)])
def test_patches_are_the_pixels_under_the_corners_of_each_window(channels, side):
    x = np.arange(2 * 784, dtype=np.float32).reshape(2, 784)
    data = convnets.images(x, [3, 9], Design(channels))
    assert data.patches.shape == (4, 2, side**2, 9) and data.patches.dtype == tf.float32
    assert data.labels.numpy().tolist() == [3, 9] and data.labels.dtype == tf.int32
    for n, i, j in itertools.product(range(2), range(side), range(side)):
        for k, (down, right) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            top, left = 2 * i + down, 2 * j + right
            pixels = x[n].reshape(28, 28)[top : top + 3, left : left + 3]
            assert data.patches[k, n, i * side + j].numpy().tolist() == pixels.ravel().tolist()


def test_part_takes_some_of_the_images():
    data = convnets.images(noise(7), labels(7), DEFAULT)
    assert len(data) == 7 and len(data.part(slice(2, 5))) == 3
    assert same(data.part(slice(2, 5)), convnets.images(noise(7)[2:5], labels(7)[2:5], DEFAULT))


@pytest.mark.parametrize("x", [
    *(np.zeros(shape, np.float32) for shape in (784, (3, 783), (3, 28, 28))), np.zeros((3, 784)),
    np.zeros((3, 784), np.uint8), *(np.full((3, 784), bad, np.float32) for bad in (np.nan, np.inf)),
])  # fmt: skip
def test_images_must_be_finite_float32_pixels(x):
    with pytest.raises(ValueError, match=r"x must be finite float32 \(N, 784\)"):
        convnets.images(x, [0, 1, 2], DEFAULT)


BAD_LABELS = [[0, 1], [0, 1, 2, 3], [[0, 1, 2]], 0, [0, 1, 10], [0, -1, 2], [0, 1.5, 2]]


@pytest.mark.parametrize("count, y", [*((3, np.array(y)) for y in BAD_LABELS), (0, np.zeros(0, int))])
def test_labels_must_be_whole_numbers_from_0_to_9_one_for_each_image(count, y):
    """And no images are refused."""
    with pytest.raises(ValueError, match="y must"):
        convnets.images(noise(count), y, DEFAULT)


# The passes against the oracle


def used(design):
    """Pixels on a side of each block's pooled map that a later layer sees: none but those to be pooled."""
    sides = [{1: 13, 2: 5, 3: 1}[len(design.channels)]]
    while len(sides) < len(design.channels):
        sides.insert(0, 2 * sides[0] + 2)
    return sides


@pytest.mark.parametrize(
    "design, dtype, tolerance",
    [*((d, tf.float64, 1e-12) for d in DESIGNS), *((d, tf.float32, 1e-5) for d in EACH_DEPTH)],
    ids=str,
)
def test_outputs_and_hidden_layers_are_the_oracles(design, dtype, tolerance):
    """Of a map every value that is used, in the order of their sizes: their places are the module's own."""
    count, members = 7, 3
    x = noise(count)
    layers = start(design, members, dtype)
    data = convnets.images(x, labels(count), design)
    hidden, z = convnets.forward(layers, tf.cast(data.patches, dtype), design)
    assert z.shape == (members, count, 10) and len(hidden) == len(layers) - 1
    for m in range(members):
        *wanted, output = outputs(oracle(member(layers, m), design), x)
        np.testing.assert_allclose(z[m], output, rtol=tolerance, atol=tolerance)
        for k, (h, values) in enumerate(zip(hidden, arrays(wanted), strict=True)):
            if k < len(design.channels):
                values = values[:, : used(design)[k], : used(design)[k]]
            values = np.sort(values.reshape(count, -1, values.shape[-1]), axis=1)
            result = np.sort(h[m].numpy().reshape(values.shape), axis=1)
            np.testing.assert_allclose(result, values, rtol=tolerance, atol=tolerance)
    for h in hidden[: len(design.channels)]:
        assert (h.numpy() > 0).any() and (h.numpy() <= 0).any(), "the rectifier has both sides"


def slope_of(layers, patches, y, design):
    """Losses and gradients by differentiation of the passes, in whatever precision they have."""
    with tf.GradientTape() as tape:
        tape.watch(layers)
        loss = convnets.losses(convnets.forward(layers, patches, design)[1], y)
    return loss.numpy(), arrays(tape.gradient(loss, layers))


@every(DESIGNS)
def test_the_gradients_are_the_oracles(design):
    """In float64, and of float32 to its rounding."""
    x, y, layers = both(4), labels(8), start(design, 2)
    data = convnets.images(x, y, design)
    loss, exact = slope_of([tf.cast(w, tf.float64) for w in layers], double(data), data.labels, design)
    single = convnets.gradient(layers, data, design)
    assert all(g.dtype == np.float64 for g in single)
    for m in range(2):
        wanted_loss, wanted, _ = oracle_slope(oracle(member(layers, m), design), x, y)
        assert loss[m] == pytest.approx(wanted_loss, rel=1e-12)
        assert all(np.abs(w).max() > 1e-4 for w in wanted)
        all_near([g[m] for g in exact], as_layers(wanted), 1e-11)
        all_near([g[m] for g in single], as_layers(wanted), 1e-5)


@every([Design((3,), (5,)), Design((3, 2), (6,), 0.125), Design((4, 4, 4), ())])
def test_of_equal_values_in_a_pooling_window_the_first_gets_the_gradient(design, monkeypatch):
    """As in TensorFlow's own pooling. Windows differ around their equal values, so that it matters."""
    count, members = 24, 2
    x, y, layers = bits(count), labels(count), whole(design, members)
    data = convnets.images(x, y, design)
    _, exact = slope_of(layers, double(data), data.labels, design)
    single = convnets.gradient([tf.cast(w, tf.float32) for w in layers], data, design)
    pool = convnets._pool
    monkeypatch.setattr(
        convnets, "_pool", lambda corners, *how, **more: pool(corners[:, :, ::-1], *how, **more)
    )
    _, last = slope_of(layers, double(data), data.labels, design)
    for m in range(members):
        _, wanted, _ = oracle_slope(oracle(member(layers, m), design), x, y)
        all_near([g[m] for g in exact], as_layers(wanted), 1e-11)
        all_near([g[m] for g in single], as_layers(wanted), 1e-5)
    for k in range(len(design.channels)):
        assert np.abs(last[k] - exact[k]).max() > 1e-2 * np.abs(exact[k]).max(), "it does matter"


@pytest.mark.parametrize("design, own", [*zip(EACH_DEPTH, [True, False, True], strict=True)], ids=str)
def test_compiled_poolings_are_the_same_to_the_bit(design, own):
    """Outputs, gradients and products with the Hessian, where many values in a window are equal."""
    count, members = 12, 3
    data = convnets.images(bits(count), labels(count), design)
    layers, vectors = whole(design, members, tf.float32), start(design, members)
    patches = data.patches
    if own:
        orders = [np.roll(np.arange(count), m) for m in range(members)]
        patches = tf.gather(tf.transpose(patches, (1, 0, 2, 3)), orders)

    def passes(compiled):
        def loss(layers):
            return convnets.losses(convnets.forward(layers, patches, design, compiled)[1], data.labels)

        hidden, z = convnets.forward(layers, patches, design, compiled)
        return *hidden, z, *itertools.chain(*curvature.products(loss)(layers, vectors))

    plain, compiled = passes(False), passes(True)
    assert same(plain, compiled) and all(np.abs(part).max() > 0 for part in compiled)


def test_more_images_than_a_piece_are_all_seen(monkeypatch):
    """Two pieces and a rest, by the law of the mean: the sum over two parts."""
    monkeypatch.setattr(convnets, "PIECE", 4)
    design, count = Design((3, 2), (5,)), 11
    x, layers = areas(count), start(design, 2)
    x[-1] *= 5  # the last one excites the units most
    data = convnets.images(x, labels(count), design)
    parts = [data.part(slice(0, 5)), data.part(slice(5, None))]
    looks = [convnets.look(layers, part, design) for part in parts]
    slopes = [convnets.gradient(layers, part, design) for part in parts]
    weights = np.array([len(part) for part in parts]) / count
    result = convnets.look(layers, data, design)
    for field in ("loss", "accuracy", "predicted"):
        mean = sum(w * getattr(one, field) for w, one in zip(weights, looks, strict=True))
        np.testing.assert_allclose(getattr(result, field), mean, rtol=1e-6)
    for k, peak in enumerate(result.peaks):
        np.testing.assert_allclose(peak, np.maximum(looks[0].peaks[k], looks[1].peaks[k]), rtol=1e-6)
    for a, b, whole in zip(*slopes, convnets.gradient(layers, data, design), strict=True):
        near(whole, weights[0] * a + weights[1] * b, 1e-5)


# Training

N = 12
BATCHES = np.random.default_rng(2).integers(0, N, (6, 5))
BATCHES[:, 1] = BATCHES[:, 0]  # an image that comes twice
RATES = np.array([0.1, 0.05, 0.01, 0.2, 0.1, 0.15])
OWN_RATES = RATES[:, None] * [1, 0.5, 0.1]

OWN_BATCHES = np.stack([BATCHES, BATCHES[::-1], (BATCHES + 1) % N], axis=1)

CASES = [
    (Design((3,), ()), RATES, OWN_BATCHES, {}),
    (Design((3, 2), (5,), 0.125), RATES, OWN_BATCHES, {}),
    (Design((2, 3, 4), (6, 4)), OWN_RATES, OWN_BATCHES, {}),
    (Design((3,), (6, 4), 0.125), RATES, BATCHES, {"momentum": 0.9}),
    (Design((3, 2), (5,)), OWN_RATES, BATCHES, {"clip": 1.5}),
    (Design((2, 3, 4), (5,), 0.125), OWN_RATES, BATCHES, {"momentum": 0.5, "clip": 3.0}),
]


def problem(design, members=3):
    return start(design, members), convnets.images(areas(N), labels(N), design)


def fit(layers, data, design, rates=RATES, batches=BATCHES, **how):
    return convnets.fit(layers, data, batches, rates, design=design, **how)


@pytest.mark.parametrize("design, rates, batches, how", CASES, ids=lambda part: str(part)[:40])
def test_training_is_the_textbooks(design, rates, batches, how):
    """To a part of 1e-5: float32 rounds to 6e-8, sums add to that, and steps pass it on."""
    layers, data = problem(design)
    result, velocity, record = fit(layers, data, design, rates, batches, gradients=True, **how)
    assert record.loss.shape == (3, 6)
    assert record.gradient.shape == (3, 6, len(layers)) and record.output.shape == (3, 6, 10)
    assert [(w.shape, w.dtype) for w in result] == [(w.shape, tf.float32) for w in layers]
    clipped = []
    for m in range(3):
        own = rates if rates.ndim == 1 else rates[:, m]
        chosen = batches if batches.ndim == 2 else batches[:, m]
        wanted, speed, (loss, sizes, output) = textbook(
            member(layers, m), areas(N), labels(N), chosen, own, design, **how
        )
        clipped += list(np.linalg.norm(sizes, axis=1) > how.get("clip", np.inf))
        np.testing.assert_allclose(record.loss[m], loss, rtol=1e-5)
        np.testing.assert_allclose(record.gradient[m], sizes, rtol=1e-4)
        near(record.output[m], output, 1e-5)
        all_near(member(result, m), wanted, 1e-5)
        assert all(np.abs(w - layers[k][m]).max() > 1e-3 for k, w in enumerate(wanted)), "it has learned"
        if how.get("momentum"):
            all_near(member(velocity, m), speed, 2e-5)
    assert ("clip" in how) == any(clipped) and not all(clipped), "some steps are clipped, others are not"


@pytest.mark.parametrize("how", [{}, {"momentum": 0.9, "clip": 1.5}], ids=str)
def test_a_record_without_gradients_is_the_same_training(how):
    """To the bit, whether its steps are clipped or not."""
    problems = *problem(DEFAULT), DEFAULT, OWN_RATES
    with_them, without = (fit(*problems, gradients=gradients, **how) for gradients in (True, False))
    assert same(with_them[0], without[0]) and same(with_them[1], without[1])
    assert with_them[2].gradient.shape == (3, 6, 4) and without[2].gradient.shape == (3, 6, 0)
    assert same(with_them[2][::2], without[2][::2])


def test_training_continues_with_its_velocity():
    """Two calls are one, to the bit; without the velocity, momentum starts anew; plain steps have none."""
    design, how = Design((3, 2), (5,)), {"momentum": 0.9, "clip": 1.5, "gradients": True}
    layers, data = problem(design)
    rest = design, RATES[2:], BATCHES[2:]
    *ends, record = fit(layers, data, design, **how)
    w, v, first = fit(layers, data, design, RATES[:2], BATCHES[:2], **how)
    fresh, _, _ = fit(w, data, *rest, **how)
    *again, second = fit(w, data, *rest, velocity=v, **how)
    assert same(ends[0], again[0]) and same(ends[1], again[1])
    assert same(record, [np.concatenate(pair, axis=1) for pair in zip(first, second, strict=True)])
    assert not same(ends[0], fresh)
    whole, half = fit(layers, data, design)[0], fit(layers, data, design, RATES[:2], BATCHES[:2])[0]
    assert same(whole, fit(half, data, *rest)[0]) and not same(whole, half)


@pytest.mark.parametrize("design, rates, batches, how", CASES[1::2], ids=lambda part: str(part)[:40])
def test_compiled_training_is_the_same_to_the_bit(design, rates, batches, how, monkeypatch):
    layers, data = problem(design)
    ends = []
    for least in (np.inf, 0):
        monkeypatch.setattr(convnets, "COMPILED", least)
        ends.append(fit(layers, data, design, rates, batches, gradients=True, **how))
    assert all(same(*pair) for pair in zip(*ends, strict=True))


def test_many_members_are_trained_in_groups(monkeypatch):
    """Six as two times three, each as if the others were not there: to the bit."""
    design, rates = Design((3, 2), (5,)), RATES[:, None] * np.linspace(0.2, 1, 6)
    batches = np.stack([(BATCHES + m) % N for m in range(6)], axis=1)
    layers, data = problem(design, 6)
    how = {"momentum": 0.9, "clip": 1.5, "gradients": True, "velocity": start(design, 6, seed=8)}
    monkeypatch.setattr(convnets, "TOGETHER", 1)
    together = fit(layers, data, design, rates, batches, **how)
    for some in (slice(0, 3), slice(3, 6)):
        how["velocity"] = [v[some] for v in start(design, 6, seed=8)]
        alone = fit([w[some] for w in layers], data, design, rates[:, some], batches[:, some], **how)
        assert all(same([w[some] for w in all_], each) for all_, each in zip(together, alone, strict=True))


# Laws of an ensemble

MANY, HOW = 4, {"momentum": 0.5, "clip": 1.5}
THEIR_RATES = RATES[:, None] * np.linspace(0.2, 1, MANY)


@every(EACH_DEPTH)
def test_a_member_is_the_same_alone_to_rounding_and_in_the_same_call_to_the_bit(design):
    layers, data = problem(design, MANY)
    together, again = (fit(layers, data, design, THEIR_RATES, **HOW) for _ in range(2))
    assert all(same(a, b) for a, b in zip(together, again, strict=True))
    assert same(convnets.gradient(layers, data, design), convnets.gradient(layers, data, design))
    for m in (0, 2):
        alone = fit([w[m : m + 1] for w in layers], data, design, THEIR_RATES[:, m : m + 1], **HOW)
        for part, tolerance in ((0, 1e-5), (1, 2e-5)):
            all_near(member(alone[part], 0), member(together[part], m), tolerance)
        np.testing.assert_allclose(alone[2].loss[0], together[2].loss[m], rtol=1e-5)
        near(alone[2].output[0], together[2].output[m], 1e-5)


@pytest.mark.parametrize("design, value", [*zip(EACH_DEPTH, [np.nan, np.inf, 3e38], strict=True)], ids=str)
def test_a_member_that_is_lost_touches_no_other(design, value):
    layers, data = problem(design, MANY)
    spoiled = [np.array(w) for w in layers]
    for w in spoiled:
        w[2] = value
    calm, ill = (arrays(fit(w, data, design, THEIR_RATES, **HOW)[0]) for w in (layers, spoiled))
    others = [0, 1, 3]
    assert same([w[others] for w in calm], [w[others] for w in ill])
    assert all(np.isfinite(w[others]).all() for w in ill)
    looks = [convnets.look(w, data, design) for w in (layers, spoiled)]
    for part in ("loss", "accuracy", "predicted", "dead"):
        assert np.array_equal(getattr(looks[0], part)[others], getattr(looks[1], part)[others])


def test_overflow_is_an_outcome():
    """A rate without measure for one member: its weights are lost, no call raises, the others learn."""
    design = DEFAULT
    layers, data = problem(design)
    rates = np.repeat(RATES[:, None], 3, axis=1)
    calm, *_ = fit(layers, data, design, rates)
    rates[:, 1] = 1e38
    result, _, record = fit(layers, data, design, rates)
    assert not all(np.isfinite(w[1]).all() for w in result) and not np.isfinite(record.loss[1]).all()
    assert same([w.numpy()[[0, 2]] for w in calm], [w.numpy()[[0, 2]] for w in result])
    seen = convnets.look(result, data, design)
    assert np.isfinite(seen.loss[[0, 2]]).all() and seen.accuracy[1] <= 100


def test_clipping_without_a_gradient_changes_nothing():
    """Dead networks whose outputs are right beyond doubt: the norm to divide by is zero."""
    design = Design((2,), ())
    layers = [np.array(w) for w in convnets.initial([1, 2], design, "dead")]
    layers[-1][:, -1, 4] = 1000
    data = convnets.images(areas(N), np.full(N, 4), design)
    result, _, record = fit(layers, data, design, clip=0.1, gradients=True)
    assert same(result, layers) and (record.gradient == 0).all() and (record.loss == 0).all()


def test_gradients_whose_squares_are_beyond_float32_are_clipped_and_recorded():
    """The rate multiplies them first: with a limit as much smaller the step is the same."""
    layers, data = problem(DEFAULT)
    one, large, small = (
        fit(layers, data, DEFAULT, [rate], BATCHES[:1], clip=0.1 / max(rate, 1), gradients=True)
        for rate in (1.0, 1e25, 1e-28)
    )
    assert not same(one[0], layers)
    for a, b in zip(one[0], large[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for other in (large, small):
        np.testing.assert_allclose(one[2].gradient, other[2].gradient, rtol=1e-4)


def changed(k, **how):
    """The usual layers, layer k in another shape."""
    layers = start(DEFAULT, 3)
    shape = {"rows": layers[k].shape[1], "columns": layers[k].shape[2], "members": 3} | how
    layers[k] = tf.zeros((shape["members"], shape["rows"], shape["columns"]))
    return layers


BAD = [
    ("batches", [np.zeros(6, int), np.zeros((6, 2, 5), int), np.zeros((6, 5)), np.zeros((6, 5), bool)],
     "batches must be whole numbers"),
    ("batches", [np.zeros((6, 0), int)], "batches must hold"),
    ("batches", [np.full((6, 5), N), np.full((6, 5), -1)], "batches must hold image numbers from 0 to 11"),
    ("rates", [RATES[:-1], 0.1, np.ones((6, 2)), np.ones((3, 6))], r"rates must be \(6,\) or \(6, 3\)"),
    ("rates", [-RATES, 0 * RATES, 1e-50 * RATES, np.full(6, np.inf), np.full(6, np.nan)],
     "rates must be above 0 and finite"),
    ("momentum", [1, -0.1, np.nan], "momentum must be a number from 0 to 1, got {}"),
    ("clip", [0, -1.0, np.inf, np.nan], "clip must be above 0 and finite, or None, got {}"),
    ("data", [convnets.images(areas(N), labels(N), Design((1,) * blocks)) for blocks in (1, 3)],
     "data was cut for .* another number"),
    ("layers", [start(DEFAULT, 3)[:-1], changed(0, columns=7), changed(2, rows=400)], "layers must be"),
    ("layers", [changed(3, members=2)], "layers must"),
    ("design", [Design((8, 16), (63,))], "layers must be"),
    ("velocity", [start(DEFAULT, 3)[:-1], changed(3, members=2), changed(2, rows=400)], "velocity must"),
]  # fmt: skip


@pytest.mark.parametrize(
    "change, message",
    [
        *(({name: v}, message.format(v)) for name, values, message in BAD for v in values),
        ({"batches": np.zeros((0, 5), int), "rates": []}, "batches must hold"),
    ],
    ids=lambda part: part[:60] if isinstance(part, str) else ", ".join(part),
)
def test_fit_refuses_before_it_trains(change, message, monkeypatch):
    monkeypatch.setattr(convnets, "_loop", lambda *_: pytest.fail("trained"))
    layers, data = problem(DEFAULT)
    arguments = {"layers": layers, "data": data, "design": DEFAULT, "momentum": 0.5} | change
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


# Measurement


def spots(places):
    """Black images, each with one pixel of this value in the pooling window at (row, column)."""
    x = np.zeros((len(places), 28, 28), np.float32)
    for image, (row, column, value) in zip(x, places, strict=True):
        image[2 * row + 1, 2 * column + 1] = value
    return x.reshape(len(places), -1)


SPOTS, DIGITS = spots([(0, 3, 1), (1, 3, 1), (2, 3, 1), (2, 3, 1)]), [7, 8, 9, 9]


def spotters(members, classes):
    """A network that tells four spots apart: the spot in row r at column 3 gives 5 to the class classes[r].

    Its second channel never switches on.
    """
    kernel = np.zeros((members, 10, 2), np.float32)
    kernel[:, 4, 0], kernel[:, 4, 1], kernel[:, -1, 1] = 1, -1, -1
    output = np.zeros((members, 13 * 13 * 2 + 1, 10), np.float32)
    for m in range(members):
        for row, number in enumerate(classes[m]):
            output[m, 2 * (13 * row + 3), number] = 5
    return kernel, output


def test_look_by_hand():
    design = Design((2,), ())
    layers = spotters(3, [(7, 8, 9), (7, 9, 8), (0, 0, 0)])
    layers[0][2, -1] = -1  # all of the third is off
    data = convnets.images(SPOTS, DIGITS, design)
    seen = convnets.look([tf.constant(w) for w in layers], data, design)
    rest = np.log(np.exp(5) + 9)
    np.testing.assert_allclose(seen.loss, [rest - 5, 0.25 * (rest - 5) + 0.75 * rest, np.log(10)], rtol=1e-6)
    assert seen.accuracy.tolist() == [100, 25, 0]
    predicted = np.zeros((3, 10))
    predicted[0, [7, 8, 9]] = predicted[1, [7, 9, 8]] = 0.25, 0.25, 0.5
    predicted[2, 0] = 1  # of equal outputs the first
    assert seen.predicted.tolist() == predicted.tolist()
    assert [p.tolist() for p in seen.peaks] == [[[1, 0], [1, 0], [0, 0]]]
    assert seen.dead.tolist() == [[0.5], [0.5], [1]]


def test_dead_shares_of_every_hidden_layer_by_hand():
    """Of five dense units one has a bias, one sees the spots, one sees what is dead, two have nothing."""
    design = Design((2,), (5, 4))
    kernel, _ = spotters(1, [()])
    dense, deep, output = (np.zeros((1, *shape), np.float32) for shape in design.shapes[1:])
    dense[0, -1, 0], dense[0, 2 * 3, 1], dense[0, 1::2, 2], dense[0, -1, 3] = 0.5, 2, 1, -1
    deep[0, 1, 0], deep[0, 0, 1], deep[0, 2, 2] = 3, -1, 1
    layers = [tf.constant(w) for w in (kernel, dense, deep, output)]
    data = convnets.images(spots([(5, 5, 1), (0, 3, 4)]), [0, 1], design)
    seen = convnets.look(layers, data, design)
    assert [p[0].tolist() for p in seen.peaks] == [[4, 0], [0.5, 8, 0, 0, 0], [24, 0, 0, 0]]
    assert seen.dead.tolist() == [[0.5, 0.6, 0.75]]
    leaky = convnets.look(layers, data, Design((2,), (5, 4), 0.5))
    assert leaky.peaks[0][0].tolist() == [4, -0.5], "negative, so it counts as dead"
    assert leaky.dead[0, 0] == 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_wrong_and_of_no_class(value):
    design = Design((2,), ())
    layers = spotters(2, [(7, 8, 9)] * 2)
    layers[1][1, -1, 0] = value  # of one class; the right one would still be the largest, or a NaN the guess
    for y, right in ((DIGITS, 100), (np.zeros(4, int), 0)):
        data = convnets.images(SPOTS, y, design)
        seen = convnets.look([tf.constant(w) for w in layers], data, design)
        assert seen.accuracy.tolist() == [right, 0] and (seen.predicted[1] == 0).all()
        assert seen.predicted[0].sum() == 1


def test_only_the_images_that_overflow_are_lost():
    design = Design((2,), ())
    x = spots([(0, 3, 1), (1, 3, 1e30), (2, 3, 1), (2, 3, 1)])
    kernel, output = spotters(1, [(7, 8, 9)])
    output *= np.float32(1e10)
    data = convnets.images(x, DIGITS, design)
    seen = convnets.look([tf.constant(kernel), tf.constant(output)], data, design)
    assert seen.accuracy.tolist() == [75]
    assert seen.predicted[0, 7:].tolist() == [0.25, 0, 0.5]


def test_losses_in_closed_form():
    """Shared labels, each member's own outputs; nats."""
    z = np.zeros((3, 2, 10))
    z[1, :, 4] = np.log(3)
    z[2, 0, 4], z[2, 1, 5] = 1000, 1000
    result = convnets.losses(tf.constant(z), tf.constant([4, 5]))
    one = np.log(12)
    np.testing.assert_allclose(result, [np.log(10), (one - np.log(3) + one) / 2, 0], rtol=1e-12, atol=1e-12)
    wrong = convnets.losses(tf.constant(z), tf.constant([5, 4]))
    np.testing.assert_allclose(wrong, [np.log(10), (one - np.log(3) + one) / 2, 1000], rtol=1e-12)
