"""Keras models: what is known of them, loaded, drawn anew; and what `look` says of broken ones."""

import json

import numpy as np
import pytest

from lib import data, kerasmodels, sequential
from lib.backend import tf
from lib.kerasmodels import ModelError, UnknownError
from lib.look import look

keras = tf.keras
L = keras.layers


def made(*steps, shape=(8, 8, 1), loss="sparse_categorical_crossentropy", optimiser=None):
    model = keras.Sequential([keras.Input(shape), *steps])
    model.compile(optimiser or keras.optimizers.SGD(0.1), loss)
    return model


def small(hidden="relu", output="softmax", **options):
    return made(L.Flatten(), L.Dense(5, hidden), L.Dense(4, output), **options)


def some(shape=(8, 8, 1), classes=4, count=30):
    rng = np.random.default_rng(0)
    return rng.random((count, *shape)).astype(np.float32), rng.integers(classes, size=count)


def test_a_model_is_known_and_its_weights_are_taken():
    model = made(
        L.Conv2D(3, 3, padding="same", activation="leaky_relu"),
        L.MaxPooling2D(),
        L.Conv2D(4, 2, strides=2),
        L.LeakyReLU(negative_slope=0.3),
        L.GlobalAveragePooling2D(),
        L.Dropout(0.2),
        L.Dense(4, kernel_regularizer=keras.regularizers.L2(0.01)),
        L.Softmax(),
        optimiser=keras.optimizers.SGD(0.2, momentum=0.8, global_clipnorm=1.5),
    )
    with pytest.raises(UnknownError, match="different L2"):
        kerasmodels.known(kerasmodels.text(model))
    model.layers[6].kernel_regularizer = None
    known = kerasmodels.known(kerasmodels.text(model))
    assert known.rule == sequential.Rule("momentum", 0.8, 1.5, 0.0) and known.rate == pytest.approx(0.2)
    x, _ = some()
    a = sequential.forward(kerasmodels.weights([model]), tf.constant(x), known.net)[-1][1]
    np.testing.assert_allclose(a[0], model(x), rtol=1e-4, atol=1e-6)
    flat = keras.Input((8, 8, 1))
    functional = keras.Model(flat, L.Dense(4, "softmax")(L.Flatten()(flat)))
    assert kerasmodels.known(functional.to_json()).net.steps[0] == ("flatten",)


@pytest.mark.parametrize(
    ("loss", "output", "kind", "factor", "last"),
    [
        ("categorical_crossentropy", "sigmoid", "cross-entropy", 1, "sigmoid"),
        ("binary_crossentropy", "sigmoid", "binary cross-entropy", 1 / 4, "sigmoid"),
        ("mse", "relu", "squared error", 1 / 2, "relu"),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), None, "cross-entropy", 1, "softmax"),
        (keras.losses.BinaryCrossentropy(from_logits=True), None, "binary cross-entropy", 1 / 4, "sigmoid"),
        (keras.losses.MeanSquaredError(), "tanh", "squared error", 1 / 2, "tanh"),
    ],
)
def test_losses_are_known(loss, output, kind, factor, last):
    net = kerasmodels.known(kerasmodels.text(small(output=output, loss=loss))).net
    assert (net.loss, net.factor, net.output) == (kind, factor, last)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: made(L.Flatten(), L.BatchNormalization(), L.Dense(4)), "BatchNormalization"),
        (lambda: small("elu"), "activation 'elu'"),
        (lambda: small(optimiser=keras.optimizers.RMSprop(0.1)), "RMSprop"),
        (lambda: small(optimiser=keras.optimizers.SGD(0.1, nesterov=True)), "SGD, or an option"),
        (lambda: small(loss="hinge"), "loss 'hinge'"),
        (lambda: made(L.Flatten(), L.Dense(4, use_bias=False)), "no bias"),
    ],
)
def test_what_is_not_known_is_named(model, said):
    with pytest.raises(UnknownError, match=said):
        kerasmodels.known(kerasmodels.text(model()))


def test_weights_are_drawn_by_the_seed_alone():
    text = kerasmodels.text(small())
    a, b, c = (kerasmodels.weights([kerasmodels.drawn(text, seed)]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a[0], b[0])
    assert (
        np.abs(a[0] - c[0]).max() > 0.01 and np.abs(np.corrcoef(np.ravel(a[0]), np.ravel(c[0]))[0, 1]) < 0.3
    )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras with NumPy 2
def test_files_of_models(tmp_path):
    path = tmp_path / "mine.keras"
    small().save(path)
    assert kerasmodels.text(kerasmodels.load(path)) == kerasmodels.text(kerasmodels.load(path))
    code = keras.Sequential([keras.Input((3,)), L.Lambda(lambda x: 2 * x)])
    code.save(path)
    with pytest.raises(ModelError, match="wants code to be run"):
        kerasmodels.load(path)
    path.write_text("hello")
    with pytest.raises(ModelError, match="no Keras model"):
        kerasmodels.load(path)
    with pytest.raises(ModelError, match="no .keras file"):
        kerasmodels.load(tmp_path / "none.keras")
    with pytest.raises(ModelError, match="must be compiled"):
        kerasmodels.text(keras.Sequential([keras.Input((3,)), L.Dense(2)]))


# --- look ---


@pytest.fixture(scope="module")
def images():
    x, y = data.subset(data.load(), 0, 1000)
    return x.reshape(-1, 28, 28, 1).astype(np.float32) / 255, y


def own(rate, hidden="relu", output="softmax", loss="sparse_categorical_crossentropy", spread=None):
    keras.utils.set_random_seed(1)
    start = keras.initializers.RandomNormal(stddev=spread) if spread else "glorot_uniform"
    return made(
        L.Flatten(),
        L.Dense(50, hidden, kernel_initializer=start),
        L.Dense(10, output, kernel_initializer=start),
        shape=(28, 28, 1),
        loss=loss,
        optimiser=keras.optimizers.SGD(rate),
    )


@pytest.mark.parametrize(
    ("options", "scale", "wanted"),
    [
        ({"rate": 0.1}, 1, "healthy"),
        ({"rate": 0.1}, 255, "dead units"),
        (
            {"rate": 3.0, "hidden": "sigmoid", "output": "sigmoid", "loss": "mse", "spread": 10.0},
            1,
            "saturated units",
        ),
        ({"rate": 1e-5}, 1, "step too small"),
        ({"rate": 1e4, "hidden": "leaky_relu", "output": None, "loss": "mse"}, 1, "overflow"),
    ],
)
def test_a_broken_model_is_told(images, options, scale, wanted):
    x, y = images
    model = own(**options)
    labels = np.eye(10)[y] if options.get("loss") == "mse" else y
    model.fit(scale * x, labels, epochs=2, verbose=0)
    report = look(model, scale * x, labels)
    assert report.diagnosis == wanted and str(report).startswith(wanted.capitalize())
    plain = json.loads(json.dumps(report.data()))
    assert plain["diagnosis"] == wanted and len(plain["gradient"]) == 2
    page = report._repr_html_()
    assert page.count("<svg") == 1 and ("chapters/" in page) == (wanted != "healthy")


def test_a_fresh_model_is_healthy_and_stays_as_it_is(images):
    x, y = images
    model = own(0.1)
    before = [w.numpy() for w in model.weights]
    assert look(model, x, y).diagnosis == "healthy"
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x[:, :-1], y), r"x must be \(N, 8, 8, 1\), got \(30, 7, 8, 1\)"),
        (lambda x, y: (x * np.nan, y), "x must be finite"),
        (lambda x, y: (x, y + 4), "y must hold 30 labels from 0 to 3"),
        (lambda x, y: (x, y[:5]), "y must hold 30 labels"),
    ],
)
def test_bad_data_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        look(small(), *change(*some()))


def test_a_model_that_cannot_be_read_is_refused():
    with pytest.raises(ModelError, match="no architecture"):
        look(object(), *some())
    with pytest.raises(ModelError, match="applied twice"):
        look(small(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)), *some())
