"""Networks of steps, against Keras, the two other engines, and each network trained alone."""

import numpy as np
import pytest

from lib import convnets, nets, train
from lib.backend import tf
from lib.own import sequential
from lib.own.sequential import Net, Rule
from lib.train import State

SEEDS = [3, 8]
IMAGE = (8, 8, 1)
MIXED = (
    ("conv", 3, 3, 1, "valid"), ("relu",), ("max pool", 2, 2, "valid"), ("conv", 4, 3, 2, "same"), ("tanh",),
    ("average pool", 2, 1, "same"), ("flatten",), ("dense", 6), ("leaky relu", 0.1), ("dropout", 0.5),
    ("dense", 5), ("gelu",), ("dense", 4), ("softmax",),
)  # fmt: skip


def dense(hidden="sigmoid", output="softmax", loss="cross-entropy", image=IMAGE):
    return Net(image, (("flatten",), ("dense", 5), (hidden,), ("dense", 4), (output,)), loss)


def some(count=40, image=IMAGE, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((count, *image)).astype(np.float32)
    return tf.constant(x), tf.constant(rng.integers(classes, size=count), tf.int32)


PLAIN = Rule()
BATCHES = np.random.default_rng(1).integers(40, size=(6, 2, 5))  # each network's own


def trained(net, rule=PLAIN, seeds=SEEDS, part=slice(None), state=None, layers=None, rate=0.3):
    x, y = some(image=net.image, classes=net.classes)
    batches = BATCHES[part, [SEEDS.index(s) for s in seeds]]
    layers = sequential.initial(seeds, net, "glorot") if layers is None else layers
    how = {"net": net, "rule": rule, "seeds": seeds, "state": state or State()}
    return sequential.fit(layers, x, y, batches, np.full(len(batches), rate), **how)


def in_keras(net, layers):
    """A Keras model with the weights of the first network."""
    L = tf.keras.layers
    made = {
        "conv": lambda n, k, s, p: L.Conv2D(n, k, s, padding=p),
        "dense": L.Dense,
        "max pool": lambda k, s, p: L.MaxPooling2D(k, s, p),
        "average pool": lambda k, s, p: L.AveragePooling2D(k, s, p),
        "flatten": L.Flatten,
        "dropout": L.Dropout,
        "leaky relu": L.LeakyReLU,
    }
    steps = [made[n](*v) if n in made else L.Activation(n) for n, *v in net.steps]
    model = tf.keras.Sequential([L.Input(net.image), *steps])
    weights = []
    for k, w in zip(net.layers, layers, strict=True):
        side = net.steps[k][2] if net.steps[k][0] == "conv" else 0
        shape = (side, side, -1, w.shape[2]) if side else (-1, w.shape[2])
        weights += [tf.reshape(w[0, :-1], shape), w[0, -1]]
    model.set_weights([w.numpy() for w in weights])
    return model


def test_forward_is_that_of_keras():
    net = Net(IMAGE, MIXED)
    layers = sequential.initial(SEEDS, net, "he", bias_sd=0.3)
    x, _ = some()
    _, a = sequential.forward(layers, x, net)[-1]
    assert a.shape == (2, 40, 4)
    np.testing.assert_allclose(a[0], in_keras(net, layers)(x), rtol=1e-4, atol=1e-6)
    own = tf.stack([x, x])  # images of each member's own
    np.testing.assert_allclose(sequential.forward(layers, own, net)[-1][1], a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("output", "loss", "keras"),
    [
        ("softmax", "cross-entropy", "categorical_crossentropy"),
        ("sigmoid", "cross-entropy", "categorical_crossentropy"),
        ("sigmoid", "binary cross-entropy", "binary_crossentropy"),
        ("softmax", "binary cross-entropy", "binary_crossentropy"),
        *((output, "squared error", "mean_squared_error") for output in sequential.OUTPUTS),
    ],
)
def test_losses_are_those_of_keras(output, loss, keras):
    net = dense(output=output, loss=loss)
    layers = sequential.initial(SEEDS, net, 2.0)
    x, y = some()
    z, a = sequential.forward(layers, x, net)[-1]
    wanted = tf.keras.losses.get(keras)(tf.one_hot(y, 4), a[0])
    factor = {"binary cross-entropy": 4, "squared error": 2}.get(
        loss, 1
    )  # Keras takes means over the outputs
    np.testing.assert_allclose(sequential.losses(net, z, a, y)[0], factor * wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rule", "keras"),
    [
        (Rule(), lambda: tf.keras.optimizers.SGD(0.3)),
        (Rule("momentum", 0.7, clip=0.2), lambda: tf.keras.optimizers.SGD(0.3, 0.7, global_clipnorm=0.2)),
        (Rule("adam"), lambda: tf.keras.optimizers.Adam(0.3)),
    ],
)
def test_training_is_that_of_keras(rule, keras):
    net = Net(IMAGE, tuple(step for step in MIXED if step[0] != "dropout"))
    model = in_keras(net, sequential.initial(SEEDS[:1], net, "glorot"))
    optimiser, (x, y) = keras(), some()
    for batch in BATCHES[:, 0]:
        with tf.GradientTape() as tape:
            value = tf.keras.losses.sparse_categorical_crossentropy(
                tf.gather(y, batch), model(tf.gather(x, batch))
            )
            value = tf.reduce_mean(value)
        optimiser.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
    layers, losses = trained(net, rule)
    assert losses.shape == (2, 6)
    np.testing.assert_allclose(losses[0, -1], value, rtol=1e-3)
    np.testing.assert_allclose(layers[-1][0, :-1], model.trainable_variables[-2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("output", "loss", "name", "optimiser"),
    [
        ("softmax", "cross-entropy", "cross-entropy", "normalised"),
        ("sigmoid", "squared error", "quadratic", "sgd"),
        ("sigmoid", "binary cross-entropy", "binary cross-entropy", "sgd"),
    ],
)
def test_dense_networks_are_those_of_train(output, loss, name, optimiser):
    net = dense(output=output, loss=loss)
    (x, y), layers = some(), sequential.initial(SEEDS, net, "glorot")
    inputs = train.Inputs(x.numpy().reshape(40, -1))
    rates = np.full(6, 0.3 / (5 if optimiser == "sgd" else 1))  # there the sum over a batch, not its mean
    how = {"hidden": "sigmoid", "loss": name, "optimiser": optimiser}
    wanted = train.fit(layers, inputs, np.eye(4, dtype=np.float32)[y], BATCHES, rates, **how)
    found, _ = trained(net, Rule(optimiser))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_convolutional_networks_begin_as_those_of_convnets():
    design = convnets.Design((2, 3), (4,))
    steps = [s for n in (2, 3) for s in (("conv", n, 3, 1, "valid"), ("relu",), ("max pool", 2, 2, "valid"))]
    net = Net((28, 28, 1), (*steps, ("flatten",), ("dense", 4), ("relu",), ("dense", 10), ("softmax",)))
    assert net.shapes == design.shapes and net.names == ["conv 1", "conv 2", "dense 1", "output"]
    fresh = (of.initial(SEEDS, made, "glorot") for of, made in ((sequential, net), (convnets, design)))
    for a, b in zip(*fresh, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_is_the_same_alone_and_in_two_calls():
    net, rule = Net(IMAGE, MIXED), Rule("momentum", 0.9, 1.0, 0.01)  # with dropout
    both, losses = trained(net, rule)
    alone, own = trained(net, rule, seeds=SEEDS[1:])
    np.testing.assert_allclose(own[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(alone[0][0], both[0][1], rtol=1e-4, atol=1e-6)
    without, _ = trained(Net(IMAGE, tuple(s for s in MIXED if s[0] != "dropout")), rule)
    assert np.abs(without[0] - both[0]).max() > 1e-3  # dropout does something
    state, layers, parts = State(), None, []
    for part in (slice(0, 2), slice(2, 6)):
        layers, seen = trained(net, rule, part=part, state=state, layers=layers)
        parts.append(seen)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), losses)
    np.testing.assert_array_equal(layers[0], both[0])


def test_overflow_is_an_outcome():
    layers, losses = trained(dense("relu", "linear", "squared error"), rate=1e30)
    assert not np.isfinite(losses[:, -1]).any() and np.isfinite(losses[:, 0]).all()


def test_decay_leaves_the_biases():
    net = dense("linear", "linear", "squared error")
    layers = tuple(tf.ones((2, *shape)) for shape in net.shapes)
    still, _ = trained(net, Rule(), layers=layers, rate=1e-9, part=slice(1))
    decayed, _ = trained(net, Rule(decay=1e8), layers=layers, rate=1e-9, part=slice(1))
    np.testing.assert_allclose((decayed[0] / still[0])[:, :-1], 0.9, rtol=1e-5)
    np.testing.assert_allclose(decayed[0][:, -1], still[0][:, -1], rtol=1e-6)


def test_levels_are_losses_of_the_best_constant_output():
    labels = np.array([0, 0, 1, 2, 2, 2])
    p = np.array([2, 1, 3]) / 6
    entropy = -(p * np.log(p)).sum()
    assert sequential.level("cross-entropy", labels, 3) == pytest.approx(entropy)
    other = -((1 - p) * np.log(1 - p)).sum()
    assert sequential.level("binary cross-entropy", labels, 3) == pytest.approx(entropy + other)
    squares = ((np.eye(3)[labels] - p) ** 2).sum(axis=1).mean() / 2
    assert sequential.level("squared error", labels, 3) == pytest.approx(squares)
    # ten outputs of a sigmoid at a tenth each
    assert sequential.level("binary cross-entropy", np.arange(10), 10) == pytest.approx(3.2508, abs=1e-4)


def test_first_weights():
    net = dense()
    a, b = sequential.initial([1, 2], net, 0.5, bias=-3.0), sequential.initial([2], net, 0.5)
    np.testing.assert_array_equal(a[0][1, :-1], b[0][0, :-1])
    assert np.all(a[1][:, -1] == -3) and np.all(b[1][:, -1] == 0)
    assert np.std(sequential.initial([1], net, 0.5)[0]) == pytest.approx(0.5, rel=0.1)
    assert np.std(sequential.initial([1], net, 0.5, bias_sd=2.0)[0][0, -1]) > 0
    with pytest.raises(ValueError, match="init must be one of"):
        sequential.initial([1], net, "best")


FLAT, CROSS = ("flatten",), "cross-entropy"


@pytest.mark.parametrize(("steps", "loss", "said"), [
    ([("dense", 3), ("softmax",)], CROSS, r"\('dense', 3\) does not fit on values of shape \(8"),
    ([("conv", 3, 9, 1, "valid"), FLAT, ("softmax",)], CROSS, "leaves nothing"),
    ([FLAT, ("lstm", 3), ("dense", 3), ("softmax",)], CROSS, "lstm"),
    ([FLAT, ("softmax",)], CROSS, "with weights"),
    ([FLAT, ("dense", 3), ("tanh",)], CROSS, "takes outputs of softmax or sigmoid, got 'tanh'"),
    ([FLAT, ("dense", 3), ("softmax",)], "hinge", "loss must be one of"),
])  # fmt: skip
def test_bad_networks_are_refused(steps, loss, said):
    with pytest.raises(ValueError, match=said):
        Net(IMAGE, tuple(steps), loss)


def test_shapes_fit_those_of_nets():
    assert dense().shapes == nets.shapes((64, 5, 4))
