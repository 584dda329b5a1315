"""What is measured, against definitions on tiny networks; and the rule that names the mechanism."""

import numpy as np
import pytest

from lib import curvature, train
from lib.backend import tf
from lib.own import diagnosis, sequential, symptoms
from lib.own.sequential import Net, Rule

SEEDS = [3, 8]


def net_of(hidden="tanh", output="softmax", loss="cross-entropy"):
    return Net((3,), (("dense", 4), (hidden,), ("dense", 3), (output,)), loss)


def some(count=300):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 3)).astype(np.float32), rng.integers(3, size=count)


def look(net, layers=None, rule=None, rate=0.1, batch=30, count=300, **change):
    x, y = some(count)
    layers = sequential.initial(SEEDS, net, 1.0) if layers is None else layers
    how = {"net": net, "rule": rule or Rule(), "rate": rate, "batch": batch, "seeds": SEEDS} | change
    return symptoms.measure(layers, x, y, **how)


def hessian(net, layers, x, y):
    """Of the first member's loss, in full, and its gradient."""
    row = curvature.flat([w[:1] for w in layers])
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(row)
        with tf.GradientTape() as inner:
            inner.watch(row)
            value = sequential.loss(curvature.unflat(row, layers), x, y, net)
        g = inner.gradient(value, row)
    return outer.batch_jacobian(g, row, experimental_use_pfor=False)[0].numpy(), g[0].numpy()


def test_losses_slopes_gradients_and_curvature():
    net = net_of()
    x, y = some()
    layers = sequential.initial(SEEDS, net, 1.0)
    found = look(net, layers)
    (z, h), (out, a) = sequential.forward(layers, tf.constant(x), net)
    each = sequential.losses(net, out, a, tf.constant(y, tf.int32))
    np.testing.assert_allclose(found.loss, tf.reduce_mean(each, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.accuracy, 100 * (a.numpy().argmax(axis=2) == y).mean(axis=1))
    np.testing.assert_allclose(found.predicted.sum(axis=1), 1)
    np.testing.assert_allclose(found.slope[:, 0], np.mean(1 - h.numpy() ** 2, axis=(1, 2)), rtol=1e-4)
    assert np.isnan(found.slope[:, 1]).all() and (found.lost[:, 0] == 0).all()
    h_all, g_all = hessian(net, layers, tf.constant(x), tf.constant(y, tf.int32))
    np.testing.assert_allclose((found.gradient[0] ** 2).sum(), g_all @ g_all, rtol=1e-3)
    np.testing.assert_allclose(found.gain[0], 0.1 * g_all @ g_all / found.loss[0], rtol=1e-3)
    some_of_them = tf.constant(x[: symptoms.CURVED]), tf.constant(y[: symptoms.CURVED], tf.int32)
    top = np.linalg.eigvalsh(hessian(net, layers, *some_of_them)[0])[-1]
    np.testing.assert_allclose(found.sharpness[0], top, rtol=0.06)
    ratios = []
    for i in range(0, 300, 30):
        h_b, g = hessian(net, layers, tf.constant(x[i : i + 30]), tf.constant(y[i : i + 30], tf.int32))
        ratios.append(g @ h_b @ g / (g @ g))
    np.testing.assert_allclose(found.batch_sharpness[0], np.mean(ratios), rtol=1e-3)
    assert look(net, curved=False).sharpness.shape == (2,)


def test_stride_is_how_far_the_first_step_moves():
    net = net_of("sigmoid", "sigmoid", "squared error")
    x, y = some(200)
    layers = sequential.initial(SEEDS, net, 1.0)
    found = look(net, layers, rate=5.0, batch=200, count=200, curved=False)
    how = {"net": net, "rule": Rule(), "seeds": SEEDS, "state": train.State()}
    batches = np.tile(np.arange(200), (1, 2, 1))
    after, _ = sequential.fit(layers, tf.constant(x), tf.constant(y, tf.int32), batches, [5.0], **how)
    pairs = zip(*(sequential.forward(w, tf.constant(x), net) for w in (layers, after)), strict=True)
    wanted = [np.sqrt(np.mean((b[0] - a[0]).numpy() ** 2, axis=(1, 2))) / 4 for a, b in pairs]
    np.testing.assert_allclose(found.stride, np.stack(wanted, axis=1), rtol=1e-3)


def moved(net, weights=1.0, bias=0.0):
    layers = sequential.initial(SEEDS, net, 1.0)
    return tuple(tf.concat([weights * w[:, :-1], w[:, -1:] + bias], axis=1) for w in layers)


@pytest.mark.parametrize(
    ("net", "layers", "rate", "updates", "wanted"),
    [
        (net_of("relu"), {"bias": -100.0}, 0.1, 9, "dead units"),
        (net_of("gelu"), {"bias": -100.0}, 0.1, 9, "dead units"),
        (net_of("tanh", "relu", "squared error"), {"bias": -1e3}, 0.1, 9, "dead units"),
        (net_of("tanh"), {"weights": 1e3}, 1e-9, 9, "saturated units"),
        (net_of("tanh", "sigmoid", "squared error"), {"weights": 1e3}, 1e-9, 9, "saturated units"),
        (net_of("tanh"), {"weights": np.inf}, 0.1, 9, "overflow"),
        (net_of("tanh"), {}, 1e4, 9, "step too large"),
        (net_of("tanh"), {}, 1e-9, 9, "step too small"),
        (net_of("tanh"), {}, 0.5, 9, "none of these"),
        (net_of("tanh"), {}, 0.5, 0, "healthy"),
    ],
)
def test_mechanisms(net, layers, rate, updates, wanted):
    found = look(net, moved(net, **layers), rate=rate)
    assert list(diagnosis.diagnose(found, net, Rule(), rate, updates)) == [wanted] * 2
    learned = np.array([True, False])
    by_word = diagnosis.diagnose(found, net, Rule(), rate, updates, learned)
    sick = wanted == "overflow" or found.lost[0, -1] > 0  # a lost output is one, whatever was learned
    assert by_word[0] == (wanted if sick else "healthy") and by_word[1] == wanted


def test_a_loss_that_fits_its_output_cannot_saturate_it():
    fits = look(net_of("tanh", "sigmoid", "binary cross-entropy"))
    other = look(net_of("tanh", "sigmoid", "cross-entropy"))
    assert np.isnan(fits.slope[:, -1]).all() and np.isfinite(other.slope[:, -1]).all()


def test_every_mechanism_has_a_chapter_that_is_there():
    from pathlib import Path

    chapters = {p.stem for p in (Path(__file__).parents[3] / "chapters").glob("*.ipynb")}
    named = {m.chapter for m in diagnosis.MECHANISMS.values()} - {None}
    assert named and named <= chapters


def test_momentum_has_a_wider_bound_and_adam_none():
    found = look(net_of())
    plain = symptoms.edge(found, Rule(), 0.5)
    np.testing.assert_allclose(symptoms.edge(found, Rule("momentum", 0.5), 0.5), plain / 1.5)
    assert np.isnan(symptoms.edge(found, Rule("adam"), 0.5)).all()


@pytest.mark.parametrize("name", [name for name, a in sequential.ACTIVATIONS.items() if a.slope])
def test_slopes_are_derivatives(name):
    activation = sequential.ACTIVATIONS[name]
    z = tf.constant(np.linspace(-6, 6, 20000), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        h = activation.value(z)
    true = np.abs(tape.gradient(h, z))
    np.testing.assert_allclose(activation.slope(z, h), true / true.max(), atol=2e-3)
