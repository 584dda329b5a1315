"""Keras models: what is known of them, loaded, drawn anew; and what `look` says of broken ones."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from lib import data
from lib.backend import tf
from lib.look import TITLES, look
from lib.own import kerasmodels, sequential
from lib.own.diagnosis import MECHANISMS
from lib.own.kerasmodels import ModelError, UnknownError

ROOT = Path(__file__).parents[2]
keras = tf.keras
L = keras.layers


@pytest.fixture(autouse=True)
def seeded():
    """So that a test's networks do not hang on the tests before it."""
    keras.utils.set_random_seed(0)


def made(*steps, shape=(8, 8, 1), loss="sparse_categorical_crossentropy", optimiser=None, **options):
    model = keras.Sequential([keras.Input(shape), *steps])
    model.compile(optimiser or keras.optimizers.SGD(0.1), loss, **options)
    return model


class Own(L.Layer):
    """A last layer of the reader's own."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4))

    def call(self, x):
        return keras.ops.softmax(x @ self.kernel)


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
        (lambda: small("softplus"), "activation 'softplus'"),
        (lambda: small(optimiser=keras.optimizers.RMSprop(0.1)), "RMSprop"),
        (lambda: small(optimiser=keras.optimizers.SGD(0.1, nesterov=True)), "SGD, or an option"),
        (lambda: small(loss="hinge"), "loss 'hinge'"),
        (lambda: made(L.Flatten(), L.Dense(4, use_bias=False)), "no bias"),
        (lambda: made(L.Flatten(), L.Dense(1, "sigmoid"), loss="binary_crossentropy"), "one output"),
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
    small(optimiser="adam").save(path)  # never trained, of which Keras warns
    assert kerasmodels.text(kerasmodels.load(path)) == kerasmodels.text(kerasmodels.load(path))
    assert look(str(path), *some(), rate=np.float32(0.1)).diagnosis == "healthy"
    keras.Sequential([keras.Input((3,)), L.Lambda(lambda x: 2 * x)]).save(path)
    with pytest.raises(ModelError, match="wants code to be run .*: Lambda"):
        kerasmodels.load(path)
    path.write_text("hello")
    with pytest.raises(ModelError, match="no Keras model"):
        kerasmodels.load(path)
    with pytest.raises(ModelError, match="no .keras file"):
        kerasmodels.load(tmp_path / "none.keras")
    with pytest.raises(ModelError, match="must be compiled"):
        kerasmodels.text(keras.Sequential([keras.Input((3,)), L.Dense(2)]))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_file_that_names_code_is_not_given_to_keras(tmp_path, monkeypatch):
    good, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    small(loss=own_loss).save(good)
    with pytest.raises(ModelError, match="wants code to be run .*: own_loss"):
        kerasmodels.load(good)
    small().save(good)
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("read by Keras"))
    with zipfile.ZipFile(good) as file:
        config = json.loads(file.read("config.json"))
    for module, kind, value in (
        ("os", "system", {"command": "true"}),
        ("keras.utils", "function", "get_file"),
    ):
        config["config"]["layers"][1] = {"module": module, "class_name": kind, "config": value}
        with zipfile.ZipFile(bad, "w") as file:
            file.writestr("config.json", json.dumps(config))
        with pytest.raises(ModelError, match="wants code to be run .*: (system|get_file)"):
            kerasmodels.load(bad)


def own_loss(y, z):
    return tf.reduce_mean(z)


# --- look ---


@pytest.fixture(scope="module")
def images():
    x, y = data.subset(data.load(), 0, 1000)
    return x.reshape(-1, 28, 28, 1).astype(np.float32) / 255, y


def flattening(*steps, **options):
    return made(L.Flatten(), *steps, shape=(28, 28, 1), **options)


def own(rate, hidden="relu", output="softmax", spread=None, **options):
    keras.utils.set_random_seed(0)
    start = keras.initializers.RandomNormal(stddev=spread) if spread else "glorot_uniform"
    steps = L.Dense(50, hidden, kernel_initializer=start), L.Dense(10, output, kernel_initializer=start)
    return flattening(*steps, optimiser=keras.optimizers.SGD(rate), **options)


@pytest.fixture
def unchanged():
    """Takes models that a test must leave as they are: weights, and what they draw at random."""
    taken = []
    yield lambda model: taken.append((model, [v.numpy() for v in model.variables]))
    for model, before in taken:
        for a, b in zip(before, model.variables, strict=True):
            np.testing.assert_array_equal(a, b)


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
def test_a_broken_model_is_told(images, unchanged, options, scale, wanted):
    x, y = images
    model = own(**options)
    labels = np.eye(10)[y] if options.get("loss") == "mse" else y
    model.fit(scale * x, labels, epochs=2, verbose=0)
    unchanged(model)
    report = look(model, scale * x, labels)
    assert report.diagnosis == wanted and str(report).startswith(wanted.capitalize())
    plain = json.loads(json.dumps(report.data()))
    assert plain["diagnosis"] == wanted and len(plain["gradient"]) == 2
    assert (plain["try"] == []) == (wanted == "healthy")
    assert any("x / 255" in one for one in plain["try"]) == (scale == 255)
    assert str(report.figure().axes[0].get_xlabel()) and report._repr_html_().count("<svg") == 1


def test_the_chapter_is_named_and_linked_where_its_address_is_known(images, monkeypatch):
    x, y = images
    report = look(own(1e-9), x, y)
    monkeypatch.delenv("SGD_BOOK_URL", raising=False)
    assert "<a " not in report._repr_html_() and "the book's chapter <i>Plateau after" in report._repr_html_()
    monkeypatch.setenv("SGD_BOOK_URL", "https://example.org/book/")
    wanted = '<a href="https://example.org/book/chapters/plateau_after_lr_jump.html">'
    assert wanted in report._repr_html_()
    for chapter, title in TITLES.items():
        assert f"# {title}" in (ROOT / "chapters" / f"{chapter}.ipynb").read_text()


def test_a_model_of_any_layers_is_told_through_keras(images):
    x, y = images
    off = keras.initializers.Constant(-50.0)
    steps = L.BatchNormalization(), L.Dense(20, "relu", bias_initializer=off), L.Dense(1, "sigmoid")
    dead, labels = flattening(*steps, loss="binary_crossentropy"), y > 4
    report = look(dead, x[..., 0], labels)  # Keras takes images without channels, too
    assert report.diagnosis == "dead units" and report.found.lost[0][0] == 1
    assert report.found.level[0] == pytest.approx(np.log(2), abs=0.01)
    assert "BatchNormalization" in str(report) and "he_normal" in report.remedies()[0]
    assert report.found.predicted.shape == (1, 2) and report.found.predicted.sum() == pytest.approx(1)
    z = np.ravel(dead(x, training=False))
    cross = -np.mean(np.where(labels, np.log(z), np.log(1 - z)))
    assert report.found.loss[0] == pytest.approx(cross, rel=1e-4)


def test_the_loss_of_an_uncompiled_model_of_any_layers_is_that_of_its_logits():
    x, labels = some()
    model = keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.LayerNormalization(), L.Dense(4)])
    model.layers[-1].kernel.assign(5 * model.layers[-1].kernel)
    found = kerasmodels.Watched(model, None).measure(x, labels, rate=0.1, batch=10, seed=0, curved=False)
    wanted = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, model(x))
    np.testing.assert_allclose(found.loss, wanted, rtol=1e-5)


def named():
    x = keras.Input((8, 8, 1), name="a")
    return keras.Model({"a": x}, {"b": L.Dense(4, "softmax")(L.Flatten()(x))})


@pytest.mark.parametrize(
    "model",
    [
        lambda: keras.Sequential([keras.Input((8, 8, 1)), L.GaussianNoise(0.1), small()]),
        lambda: keras.Sequential([small(), L.Reshape((4,)), L.Dropout(0.1)]),
        lambda: keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(4, tf.nn.softmax)]),
        lambda: keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), Own()]),
        named,
    ],
)
def test_outputs_are_told_wherever_their_softmax_stands(model):
    (x, y), model = some(), model()
    loss = keras.losses.SparseCategoricalCrossentropy()
    inner = keras.optimizers.SGD(0.1)
    model.compile(keras.optimizers.LossScaleOptimizer(inner), loss)
    report = look(model, x, y)
    z = model(x) if isinstance(model, keras.Sequential) else model({"a": x})["b"]
    wanted = float(loss(y, z))
    assert report.diagnosis == "healthy" and report.rate == pytest.approx(0.1)
    assert report.found.loss[0] == pytest.approx(wanted, rel=1e-5)


def test_of_two_classes_a_part_can_be_learned_too(images):
    x, y = images
    model = flattening(L.Dense(1, "sigmoid"), loss="binary_crossentropy")
    model.fit(x, y > 4, epochs=4, verbose=0)
    report = look(model, x, y > 4)
    assert report.diagnosis == "none of these" and report.remedies()[0].startswith("more epochs")
    always = flattening(L.Dense(2, "softmax", kernel_initializer="zeros"))
    always.layers[-1].bias.assign([3.0, 0.0])  # right wherever the class is the frequent one
    assert not look(always, x, y == 0).says().startswith("It learns")


@pytest.mark.parametrize("hidden", [L.ReLU(6.0), keras.Sequential([L.ReLU()])])
def test_dead_units_that_are_not_seen_are_told_by_the_gradient(images, hidden):
    x, y = images
    model = flattening(
        L.Dense(9, bias_initializer=keras.initializers.Constant(-1e3)), hidden, L.Dense(10, "softmax")
    )
    model.fit(x, y, epochs=3, verbose=0)
    report = look(model, x, y)
    assert (
        report.diagnosis == "dead units" and f"{model.layers[1].name}: the gradient is zero" in report.why()
    )


@pytest.mark.parametrize("scaled", [lambda x: x / 255, keras.Sequential([L.Rescaling(1 / 255)])])
def test_images_that_the_model_scales_are_not_to_be_scaled_again(images, scaled):
    x = keras.Input((28, 28, 1))
    model = keras.Model(x, L.Dense(10, "softmax")(L.Flatten()(scaled(x))))
    model.compile(keras.optimizers.SGD(1e-9), "sparse_categorical_crossentropy")
    report = look(model, 255 * images[0], images[1])
    assert report.diagnosis == "step too small" and "x / " not in " ".join(report.remedies())


def test_a_model_of_a_class_of_its_own_is_opened(images):
    x, y = images

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = L.Dense(10, "softmax")

        def call(self, x, training):
            return self.last(L.Flatten()(x))

    model = Own()
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=3, verbose=0)
    report = look(model, x, y)
    assert report.diagnosis == "healthy" and report.updates == 96 and report.rate == pytest.approx(0.1)
    with pytest.raises(ModelError, match="Own cannot be opened"):
        look(model, np.ones((1000, 7, 7)), y)


def test_running_means_that_lag_are_seen(images, unchanged):
    x, y = images
    steps = L.Dense(30, "relu"), L.BatchNormalization(momentum=0.9999), L.Dropout(0.1)
    model = flattening(
        *steps, L.Dense(10, "softmax"), loss="categorical_crossentropy", optimiser=keras.optimizers.Adam(0.02)
    )
    model.layers[2].moving_mean.assign(np.full(30, 5.0))
    model.fit(x, np.eye(10)[y], epochs=3, verbose=0)
    unchanged(model)
    assert "have not caught up" in str(look(model, x, y))


def test_mistakes_beside_the_network_are_seen(images):
    x, y = images
    model = own(0.1)
    model.fit(x, (y + 3) % 10, epochs=4, verbose=0)
    report = look(model, x, y)
    assert report.diagnosis == "none of these" and "in another order" in report.data()["remarks"][0]
    assert look(model, x[:20], y[:20]).remarks == (), "of 20 images an order means nothing"
    logits = own(0.1, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert "leave out one" in str(look(logits, x, y))
    pulled = flattening(L.Dense(10, "softmax", kernel_regularizer=keras.regularizers.L2(0.5)))
    pulled.fit(x, y, verbose=0)
    assert "L2 penalty takes" in str(look(pulled, x, y))
    alike = flattening(L.Dense(10, "softmax", kernel_initializer="zeros"))
    assert "all equal" in str(look(alike, x, y))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("loss", [keras.losses.get("mse"), ["mse"], {"last": "mse"}])
def test_losses_are_known_in_all_of_kerass_ways(tmp_path, loss):
    model = keras.Sequential([keras.Input((8,)), L.Dense(4, "softmax", name="last")])
    model.compile("sgd", loss)
    model.save(tmp_path / "model.keras")
    text = kerasmodels.text(kerasmodels.load(tmp_path / "model.keras"))
    assert kerasmodels.known(text).net.loss == "squared error"


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_losses_and_units_of_ones_own():
    x, y = some((8,))

    def mine(a, b):
        return tf.reduce_mean(tf.square(a - b), axis=-1)

    def last():
        return L.Dense(4, "softmax")

    with pytest.raises(ModelError, match="loss 'mine'; known are"):
        look(made(last(), shape=(8,), loss=mine), x, y)
    smooth = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    with pytest.raises(ModelError, match="label_smoothing"):
        look(made(last(), shape=(8,), loss=smooth), x, y)
    report = look(made(L.Dense(5, lambda z: 2 * z), last(), shape=(8,)), x, y)
    assert "activation of the reader's own" in report.reason
    words = made(L.Embedding(9, 3), L.GRU(3), last(), shape=(8,))
    assert look(words, (9 * x).astype(int), y).remarks == (), "an embedding's gradient is rows"


def test_first_steps_that_overshoot_may_pass(images):
    x, y = images
    model = own(1.0)
    report = look(model, (x - x.mean()) / x.std(), y)
    assert report.diagnosis == "step too large" and "train an epoch" in report.says()


def test_what_is_not_known_or_needless_is_not_told(images):
    x, y = images
    bare = keras.Sequential([keras.Input((28, 28, 1)), L.Flatten(), L.Dense(10, "softmax")])
    assert "not told" in look(bare, x, y).says(), "it may have been trained in a loop of one's own"
    steps = L.Dense(20, "tanh"), L.Dense(10, "softmax")
    wild = flattening(*steps, optimiser=keras.optimizers.SGD(100.0))
    wild.fit(x, y, verbose=0)
    report = look(wild, x, y)
    assert report.diagnosis == "saturated units" and report.remedies()[0].startswith("learning_rate=10")
    deep = [L.Dense(20, "sigmoid") for _ in range(6)]
    slow = flattening(*deep, L.Dense(10, "softmax"), optimiser=keras.optimizers.SGD(0.001))
    slow.fit(x, y, verbose=0)
    report = look(slow, x, y)
    assert report.diagnosis == "step too small" and "The gradient fades" in str(report)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x[:, :-1], y), r"x must be \(N, 8, 8, 1\), .*got \(30, 7, 8, 1\)"),
        (lambda x, y: (x * np.nan, y), "x must be finite"),
        (lambda x, y: (x.reshape(-1, 64), y), r"x.reshape\(-1, 8, 8, 1\) is"),
        (lambda x, y: (np.moveaxis(x, -1, 1), y), "np.moveaxis"),
        (lambda x, y: (x.astype(str), y), "x must hold numbers, got <U"),
        (lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)), y), "x must be an array, got .*Dataset"),
        (lambda x, y: (x, y + 4), "y must hold whole numbers from 0 to 3, .* got 4 to 7"),
        (lambda x, y: (x, y[:5]), "as many.* got 30 images and 5 labels"),
        (lambda x, y: (x, y.astype(str)), "y must hold whole numbers .* got <U.*np.unique"),
        (lambda x, y: (x, np.full((30, 4), 0.25)), "not one 1 and else 0"),
        (lambda x, y: (x, y + 0.5), "y must hold whole numbers"),
        (lambda x, y: (x, 0 * y), "more than one class, got 0 alone"),
        (lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)),), "x must be an array, got .*Dataset"),
        (lambda x, y: (csr_matrix(x.reshape(30, -1)), y), r"x must be an array, got csr_matrix; x.toarray"),
        (lambda x, y: ([x[0], x[0, 1:]], y[:2]), "rows of different shapes"),
        (lambda x, y: (x, 10 * y), "Regression is not looked at"),
    ],
)
def test_bad_data_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        look(small(), *change(*some()))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (object, "model must be a Keras model"),
        (lambda: keras.Sequential([L.Dense(4)]), "no weights yet"),
        (lambda: small(loss="hinge"), "loss 'hinge'.* known are"),
        (lambda: small(output=None), "activation='softmax', or the loss from_logits=True"),
        (
            lambda: small(output="relu", loss=keras.losses.CategoricalCrossentropy(from_logits=True)),
            "take the activation of the last layer away",
        ),
        (lambda: made(L.Flatten(), L.Dense(1, "softmax")), "one output, on which softmax is always 1"),
        (lambda: made(L.Conv2D(4, 3)), "wanted one row of numbers.*Flatten"),
        (lambda: made(L.Dense(5), L.Dense(4, "softmax"), shape=(8, 8)), "wanted one row.*Flatten"),
        (lambda: small(loss=keras.losses.CategoricalCrossentropy(reduction="sum")), "reduction"),
        (lambda: small(loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=0)), "ignore_class"),
        (lambda: small(loss_weights=3.0), "loss_weights=3.0; leave them out"),
        (lambda: small(loss=keras.losses.MeanSquaredError), "the loss of the model cannot be read"),
        (lambda: keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), Own()]), "must be compiled"),
        (lambda: made(L.Flatten(), L.Dense(4, "softmax", trainable=False)), "no weights that are trained"),
    ],
)
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")
def test_a_model_that_cannot_be_told_is_refused(model, said):
    with pytest.raises(ModelError, match=said):
        look(model(), *some())


def test_the_example_of_the_guide(capsys):
    part = (ROOT / "using.md").read_text().split("## Your own model")[1]
    *lines, last = part.split("```python\n")[1].split("```")[0].strip().splitlines()
    names = {}
    exec("\n".join(lines), names)
    report = eval(last, names)
    assert report.diagnosis == "dead units" and "x / 255" in report.remedies()[0]
    assert f"**{report.diagnosis.capitalize()}.**" in part
    for name in MECHANISMS:
        assert f"| {name} |" in part
