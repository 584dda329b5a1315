"""Settings, runs, branches and outcomes, against plain loops, explicit Hessians and rules by hand."""

import itertools
import json
from dataclasses import fields, replace

import numpy as np
import pytest
from alike import same
from scipy import stats
from scipy.special import logsumexp, softmax

from lib import convnets, curvature, data, imagesets, order
from lib.backend import tf
from lib.questions import plateaus
from lib.questions.plateaus import FLAT, LATE, LEARNED, OUTCOMES, Setting

SEEDS = [20, 21]  # of block 2
STEPS = 5  # in an epoch: of 43 images in batches of 8, three are left out
STEPPED, LOOKED = ("step_loss", "train", "output"), ("validation", "accuracy", "dead")  # rows in time


def small(**change):
    tiny = {"epochs": 2, "channels": (2,), "dense": (3,), "batch": 8, "images": 43, "validation": 20}
    return Setting(**tiny | change)


@pytest.fixture(scope="session")
def labels(split):
    """Of the training images."""
    return split.train[1][:43]


def result_of(setting, seeds=SEEDS, before=None):
    """The arrays of a setting and, unless given, of all before it."""
    if setting.after is not None and before is None:
        before = result_of(setting.after, seeds)
    return plateaus.job(setting.config(), seeds, before)


seen_by, unseen_by = plateaus.training, plateaus.validation


def own_batches(epoch, setting):
    """Of each network (T, M, B)."""
    return np.stack([plateaus.batches(seed, epoch, setting) for seed in SEEDS], axis=1)


def layers_of(result, name="layer"):
    return [result[f"{name}{k}"] for k in range(sum(key.startswith(name) for key in result))]


def kept(layers):
    """Networks as a setting that keeps them leaves them."""
    return {f"layer{k}": np.asarray(w, np.float32) for k, w in enumerate(layers)} | {
        f"velocity{k}": np.zeros(w.shape, np.float32) for k, w in enumerate(layers)
    }


def made(design, seed=0, members=2):
    """Weights and biases at random, none of them zero."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(members, *shape)) * np.sqrt(2 / shape[0]) for shape in design.shapes]


def constant(layers):
    return tuple(tf.constant(w, tf.float32) for w in layers)


def sizes(slope):
    """Norms (2, L) of the layers of a gradient."""
    return np.stack([np.linalg.norm(g.reshape(2, -1), axis=1) for g in slope], axis=1)


def became(result, labels):
    """The outcome of each run."""
    curves = (result[name] for name in ("train", "silent", "finite"))
    return plateaus.outcome(*curves, plateaus.entropy(labels)).tolist()


# Settings

NAMES = {  # values beyond each end of what is allowed, and of another kind; `lib.checks` has tests of its own
    "epochs": (-1, 10**6 + 1, 2.0),
    "images": (0, 50_001, 43.0),
    "validation": (0, 10_001, 20.0),
    "batch": (0, 8.0, 50_001, 44),
    "warmup": (-1, 1.0),
    "rate": (0, -0.1, np.inf, np.nan, "0.1", 10**400, 1e-13, 1e13),
    "momentum": (1, -0.1, None),
    "clip": (0, np.inf, "1"),
    "pixels": ("0 to 2", None),
    "init": ("zeros", None),
    "sampling": ("in order", None),
    "outputs": (1,),
    "source": ("cifar", None),
    "steep": ((3,), (-1,), (1, 0), 1),
    "lengths": (1,),
    "keep": (1,),
    "sharp": ((3,), (-1,), (1, 1), 1),
    "window": ((0, 11), (-1, 3), (3, 3), (0,), (1, 2, 3), (0, 3.0)),
    "channels": ((), (0,), (1, 1, 1, 1), 2),
    "dense": ((0,), (1,) * 6, None),
    "slope": (-0.1, 1, None),
}


@pytest.mark.parametrize("name, value", [(n, v) for n, values in NAMES.items() for v in values], ids=repr)
def test_a_bad_field_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must "):
        small(**{name: value})


def test_every_field_is_tried():
    assert set(NAMES) | {"after"} == {f.name for f in fields(Setting)}


def test_a_setting_goes_on_from_one_that_keeps_networks_of_the_same_shape():
    keeps = r"^after must be a Setting that keeps its networks"
    for after, message in (
        *((after, keeps) for after in (small(), small(keep=True).config(), 1, "small")),
        (small(keep=True, channels=(2, 2)), r"^channels is \(2,\), but \(2, 2\) in the one before"),
        (small(keep=True, dense=()), r"^dense is \(3,\), but \(\) in the one before"),
    ):
        with pytest.raises(ValueError, match=message):
            small(after=after)
    change = {"slope": 0.1, "images": 40, "batch": 10, "rate": 1.0, "pixels": "standardised", "epochs": 0}
    assert small(after=small(keep=True), **change).config()["after"]["slope"] == 0


def test_settings_at_the_ends_of_what_is_allowed():
    for change in (
        {"epochs": 0}, {"batch": 43}, {"batch": 1, "images": 1}, {"images": 50_000, "validation": 10_000},
        {"rate": 1e12}, {"rate": 1e-12}, {"momentum": 0}, {"momentum": 0.999}, {"clip": 1e-6}, {"clip": None},
        {"sharp": (0, 1, 2)}, {"window": (0, 10)}, {"window": (9, 10)}, {"dense": ()},
    ):  # fmt: skip
        assert small(**change).config()


def test_steps_are_those_of_whole_batches():
    assert small().steps == 2 * STEPS and small(images=40).steps == 10
    assert small(images=47).steps == 10 and small(images=48).steps == 12
    assert small(epochs=0).steps == 0 and small(batch=43).steps == 2


FULL = {
    "slope": 0.1, "warmup": 1, "momentum": 0.5, "clip": 2.0, "sampling": "drawn", "pixels": "standardised",
    "init": "he", "sharp": (0, 2), "window": (3, 7), "outputs": True, "keep": True,
}  # fmt: skip


def test_the_configuration_is_plain_data_and_gives_the_setting_back():
    setting = small(after=small(keep=True, rate=0.2), **FULL)
    config = setting.config()
    again = json.loads(json.dumps(config, allow_nan=False))
    assert again == config == Setting.of(again).config()
    assert Setting.of(again) == setting and again["after"]["rate"] == 0.2


# Data


def test_the_entropy_is_that_of_the_shares_of_the_labels():
    """For MNIST's 60,000 training labels it is 2.3012 nats."""
    digits = data.load().y_train
    assert plateaus.entropy(digits) == pytest.approx(2.3012, abs=5e-5)
    for labels in (digits, digits[:43], np.array([7, 7, 7]), np.tile(np.arange(10), 3)):
        wanted = stats.entropy(np.bincount(labels))
        assert plateaus.entropy(labels) == pytest.approx(wanted, rel=1e-14, abs=1e-15)


def test_pixels_reach_from_end_to_end_or_have_mean_0_and_deviation_1():
    for pixels, high in (("0 to 255", 255), ("0 to 1", 1)):
        patches = plateaus.training(small(pixels=pixels, channels=(2,))).patches.numpy()
        assert (patches.min(), patches.max()) == (0, high)
    mean, scale = plateaus.PIXELS["standardised"]
    x = data.load().x_train
    assert abs((x.mean(dtype=np.float64) - mean) / scale) < 1e-3
    assert x.std(dtype=np.float64) / scale == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("blocks, pixels", list(enumerate(plateaus.PIXELS, 1)))
def test_images_are_the_first_ones_and_those_from_the_50000th_on(blocks, pixels, split):
    mean, scale = plateaus.PIXELS[pixels]
    setting = small(pixels=pixels, channels=(2,) * blocks)
    for images, (x, y), count in (
        (plateaus.training(setting), split.train, 43),
        (plateaus.validation(setting), split.validation, 20),
    ):
        scaled = ((x[:count].astype(float) - mean) / scale).astype(np.float32)
        wanted = convnets.images(scaled, y[:count], convnets.Design((5,) * blocks))
        np.testing.assert_allclose(images.patches, wanted.patches, rtol=1e-5, atol=1e-6)
        assert images.labels.numpy().tolist() == y[:count].tolist()


@pytest.mark.parametrize("sampling", order.SAMPLING)
def test_batches_depend_on_seed_and_epoch_and_what_the_setting_says(sampling):
    setting = small(sampling=sampling)
    wanted = order.epoch(("plateau order", 3, 1), 43, sampling)[:40].reshape(5, 8)
    assert np.array_equal(plateaus.batches(3, 1, setting), wanted)
    assert plateaus.batches(3, 1, replace(setting, batch=43)).shape == (1, 43)


# Runs against a plain loop


def plain(setting, rates=None):
    """The networks, the losses of all steps, the mean outputs, and looks at the validation images."""
    design, images, unseen = setting.design, seen_by(setting), unseen_by(setting)
    layers, velocity = convnets.initial(SEEDS, design, setting.init), None
    looks, losses, outputs = [convnets.look(layers, unseen, design)], [], []
    how = {"design": design, "momentum": setting.momentum, "clip": setting.clip}
    for epoch in range(setting.epochs):
        batches = own_batches(epoch, setting)
        rate = np.full(len(batches), setting.rate) if rates is None else rates[epoch]
        layers, velocity, record = convnets.fit(layers, images, batches, rate, velocity=velocity, **how)
        looks.append(convnets.look(layers, unseen, design))
        losses.append(record.loss)
        outputs.append(record.output)
    return layers, velocity, np.stack(losses, axis=1), np.concatenate(outputs, axis=1), looks


@pytest.mark.parametrize("change", [
    {}, {"rate": 1, "sampling": "drawn", "pixels": "standardised", "init": "he"},
    {"momentum": 0.9, "clip": 0.5},
], ids=str)  # fmt: skip
def test_a_run_is_a_plain_loop(change):
    setting = small(keep=True, outputs=True, **change)
    result = result_of(setting)
    layers, velocity, losses, outputs, looks = plain(setting)
    assert same(layers_of(result), layers)
    assert same(layers_of(result, "velocity"), velocity)
    assert np.array_equal(result["step_loss"], losses.reshape(2, -1))
    assert np.array_equal(result["output"], outputs)
    np.testing.assert_allclose(result["train"], losses.astype(float).mean(axis=2), rtol=1e-14)
    for k, look in enumerate(looks):
        for name, part in (("validation", look.loss), ("accuracy", look.accuracy), ("dead", look.dead)):
            assert np.array_equal(result[name][:, k], part)
    for a, b in zip(layers, convnets.initial(SEEDS, setting.design, setting.init), strict=True):
        assert not np.array_equal(a[0], b[0]) and not np.array_equal(a[1], b[1])


def test_a_member_is_the_same_in_any_company():
    """Alone, with some of its block, and with all, to rounding: the draws and the orders are the same."""
    setting = small(after=small(keep=True), keep=True, sharp=(2,))
    whole = result_of(setting, range(16, 24))
    for some in ([20], [16, 20, 23]):
        part = result_of(setting, some)
        for name in ("layer0", "layer1", "layer2", "step_loss", "sharpness", "gradient"):
            rows = whole[name][[seed - 16 for seed in some]]
            np.testing.assert_allclose(rows, part[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("warmup", [1, 2, 4])
def test_the_rate_rises_in_equal_steps(warmup):
    """Through one epoch of two, through both, and through more than there are."""
    setting = small(keep=True, rate=0.4, warmup=warmup)
    result = result_of(setting)
    rates = np.minimum(0.4, 0.08 / warmup * np.arange(1, 11).reshape(2, STEPS))
    layers, _, losses, _, _ = plain(setting, rates)
    np.testing.assert_allclose(result["step_loss"], losses.reshape(2, -1), rtol=1e-5)
    for w, wanted in zip(layers_of(result), layers, strict=True):
        np.testing.assert_allclose(w, wanted, rtol=1e-4, atol=1e-6)


def test_without_epochs_a_run_only_looks():
    setting = small(epochs=0, keep=True)
    result = result_of(setting)
    layers = convnets.initial(SEEDS, setting.design, "glorot")
    assert same(layers_of(result), layers)
    assert result["step_loss"].shape == (2, 0) and result["train"].shape == (2, 0)
    assert np.array_equal(result["validation"][:, 0], result_of(small())["validation"][:, 0])
    assert result_of(small(epochs=0, outputs=True))["output"].shape == (2, 0, 10)
    first = result_of(small(keep=True))
    after = result_of(small(epochs=0, after=small(keep=True), keep=True), before=first)
    assert same(layers_of(after), layers_of(first))
    ends, curves = ("loss", "hit", "silent", "predicted", "gradient", "nonzero", "finite"), LOOKED
    assert same({k: after[k] for k in ends}, {k: first[k] for k in ends})
    assert same({k: after[k] for k in curves}, {k: first[k][:, -1:] for k in curves})


def test_recording_networks_and_outputs_changes_nothing_else():
    result, more = result_of(small()), result_of(small(keep=True, outputs=True))
    assert same({k: more[k] for k in result}, result)
    layers = {f"{name}{k}" for k in range(3) for name in ("layer", "velocity")}
    assert more.keys() - result.keys() == layers | {"output"}
    assert result["finite"].dtype == bool and result["finite"].all()


# Measures at the end, by hand


@pytest.fixture(scope="module")
def ill():
    """Two networks at random: one of two channels and one of three units of the first one are off."""
    setting = small(after=small(keep=True), epochs=0)
    layers = made(setting.design, 6)
    layers[0][0, -1, 1] = layers[1][0, -1, 2] = -1e6
    return setting, layers, result_of(setting, before=kept(layers))


def test_measures_at_the_end_are_those_of_the_training_images_by_hand(ill, labels):
    setting, layers, result = ill
    hidden, z = convnets.forward(constant(layers), seen_by(setting).patches, setting.design)
    z = z.numpy().astype(float)
    loss = (logsumexp(z, axis=2) - z[:, np.arange(43), labels]).mean(axis=1)
    np.testing.assert_allclose(result["loss"], loss, rtol=1e-5)
    guess = z.argmax(axis=2)
    np.testing.assert_allclose(result["hit"], 100 * (guess == labels).mean(axis=1), rtol=1e-14)
    shares = [[(guess[m] == c).mean() for c in range(10)] for m in range(2)]
    np.testing.assert_allclose(result["predicted"], shares, rtol=1e-14)
    assert ((np.array(shares) > 0).sum(axis=1) > 1).all(), "not the same class for all"
    units = [h.numpy().reshape(2, -1, h.shape[-1]) for h in hidden]
    assert np.array_equal(result["silent"], np.stack([(u <= 0).all(axis=1).mean(axis=1) for u in units], 1))
    assert result["silent"][0, 0] == 0.5 and result["silent"][0, 1] >= 1 / 3
    unseen = unseen_by(setting)
    assert np.array_equal(result["dead"][:, 0], convnets.look(constant(layers), unseen, setting.design).dead)
    assert not np.array_equal(result["dead"][:, 0], result["silent"]), "a unit may sleep on one set alone"


def test_the_gradient_at_the_end_is_that_of_the_mean_loss(ill):
    setting, layers, result = ill
    images, slopes = seen_by(setting), []
    for dtype in (tf.float32, tf.float64):
        weights = [tf.constant(w, dtype) for w in layers]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            patches = tf.cast(images.patches, dtype)
            loss = convnets.losses(convnets.forward(weights, patches, setting.design)[1], images.labels)
        slopes.append([g.numpy() for g in tape.gradient(loss, weights)])
    np.testing.assert_allclose(result["gradient"], sizes(slopes[1]), rtol=1e-4)
    shares = np.stack([(g != 0).reshape(2, -1).mean(axis=1) for g in slopes[0]], axis=1)
    assert np.array_equal(result["nonzero"], shares)
    # off are a channel's kernel and bias; its pixels' weights above, and those of the unit that is off
    assert result["nonzero"][0, 0] == 0.5
    assert result["nonzero"][0, 1] <= 2 * (169 + 1) / (3 * 339)
    assert result["nonzero"][0, 2] <= 3 / 4


# Settings that go on


@pytest.mark.parametrize("change", [{}, {"momentum": 0.9, "sampling": "drawn"}], ids=str)
def test_going_on_is_the_same_to_the_bit_as_never_stopping(change):
    """Four epochs, and one, one and two."""
    change |= {"keep": True, "outputs": True}
    whole = result_of(small(epochs=4, **change))
    setting, parts = None, []
    for epochs in (1, 1, 2):
        setting = small(epochs=epochs, after=setting, **change)
        parts.append(result_of(setting, before=parts[-1] if parts else None))
    for name in STEPPED:
        assert np.array_equal(np.concatenate([part[name] for part in parts], axis=1), whole[name])
    for name in LOOKED:
        looks = [part[name][:, k > 0 :] for k, part in enumerate(parts)]
        assert np.array_equal(np.concatenate(looks, axis=1), whole[name])
    rest = set(whole) - {*STEPPED, *LOOKED}
    assert {"layer0", "velocity2", "loss", "gradient"} < rest
    assert same({k: parts[-1][k] for k in rest}, {k: whole[k] for k in rest})


def test_a_setting_without_momentum_leaves_the_velocity_behind():
    first = result_of(small(epochs=1, momentum=0.9, keep=True))
    still = {k: np.zeros_like(v) if k.startswith("velocity") else v for k, v in first.items()}
    after = small(epochs=1, momentum=0.9, keep=True)
    assert same(*(result_of(small(epochs=1, after=after), before=b) for b in (first, still)))
    left = result_of(small(epochs=1, after=after, keep=True), before=first)
    assert all(left[f"velocity{k}"].any() == 0 < first[f"velocity{k}"].any() for k in range(3))
    moving = small(epochs=1, momentum=0.9, after=after)
    a, b = (result_of(moving, before=b) for b in (first, still))
    assert not np.array_equal(a["loss"], b["loss"]), "with momentum it counts"


# The window

WINDOW = (3, 7)  # from the first epoch into the second


def some(images, numbers):
    return convnets.Images(tf.gather(images.patches, numbers, axis=1), tf.gather(images.labels, numbers))


def test_recording_a_window_changes_no_bit():
    setting = small(keep=True, outputs=True, momentum=0.9, clip=0.5)
    result, without = result_of(replace(setting, window=WINDOW)), result_of(setting)
    assert same({k: result[k] for k in without}, without)
    shapes = {"gradient": (3,), "dead": (2,), "loss": (), "layers": (20 + 339 * 3 + 40,)}
    assert {k: result[k].shape for k in result.keys() - without.keys()} == {
        f"window_{k}": (2, 4, *shape) for k, shape in shapes.items()
    }


def test_a_window_holds_the_weights_before_each_step():
    setting = small(keep=True, window=WINDOW)
    result = result_of(setting)
    design, images = setting.design, seen_by(setting)
    batches = np.concatenate([own_batches(epoch, setting) for epoch in range(2)])
    like = constant(made(design))
    networks = [curvature.unflat(result["window_layers"][:, t - 3], like) for t in range(*WINDOW)]
    for k, layers in enumerate(networks):
        t = WINDOW[0] + k
        look = convnets.look(layers, images, design)
        assert np.array_equal(result["window_loss"][:, k], look.loss)
        assert np.array_equal(result["window_dead"][:, k], look.dead)
        each = [
            convnets.gradient([w[m : m + 1] for w in layers], some(images, batches[t, m]), design)
            for m in (0, 1)
        ]
        slope = [np.concatenate(pair) for pair in zip(*each, strict=True)]
        np.testing.assert_allclose(result["window_gradient"][:, k], sizes(slope), rtol=1e-4)
        one = batches[t : t + 1]
        after, _, record = convnets.fit(layers, images, one, [0.1], design=design, gradients=True)
        assert np.array_equal(record.loss[:, 0], result["step_loss"][:, t])
        if k + 1 < len(networks):
            assert same(after, networks[k + 1])
    last, _, _ = convnets.fit(after, images, batches[WINDOW[1] :], np.full(3, 0.1), design=design)
    assert same(last, layers_of(result))


# Curvature

BENT = {"channels": (1,), "dense": (2,), "images": 32, "validation": 16}
MEASURED = ("sharpness", "residual", "batch_sharpness")
SIZE = 10 + (169 + 1) * 2 + (2 + 1) * 10


def slopes(rows, images, design):
    """Gradients in float64 at each row (K, P)."""
    like = [tf.zeros((1, *shape), tf.float64) for shape in design.shapes]
    layers = curvature.unflat(rows, like)
    with tf.GradientTape() as tape:
        tape.watch(layers)
        _, z = convnets.forward(layers, tf.cast(images.patches, tf.float64), design)
        loss = convnets.losses(z, images.labels)
    return curvature.flat(tape.gradient(loss, layers)).numpy()


def explicit(layers, images, design, step=1e-6):
    """Each member's gradient (M, P) and Hessian (M, P, P), by central differences of its gradient."""
    rows = curvature.flat(constant(layers)).numpy().astype(float)
    ends = [[slopes(r + sign * step * np.eye(SIZE), images, design) for sign in (1, -1)] for r in rows]
    return slopes(rows, images, design), np.stack([(a - b) / (2 * step) for a, b in ends])


def ratio(slope, hessian):
    return np.einsum("mi,mij,mj->m", slope, hessian, slope) / (slope * slope).sum(axis=1)


@pytest.fixture
def few(monkeypatch):
    """The first 24 images, 16 at a time."""
    monkeypatch.setattr(plateaus, "CURVED", 24)
    monkeypatch.setattr(convnets, "PIECE", 16)


def test_sharpness_against_explicit_hessians(few):
    """The largest eigenvalue over the first images, and the mean over their batches, in float32."""
    setting = small(after=small(keep=True, **BENT), epochs=0, sharp=(0,), steep=(0,), **BENT)
    design, layers = setting.design, made(setting.design, 3)
    result = result_of(setting, before=kept(layers))
    parts = [explicit(layers, seen_by(setting).part(slice(i, i + 8)), design) for i in (0, 8, 16)]
    hessian = np.mean([h for _, h in parts], axis=0)
    assert np.abs(hessian - np.swapaxes(hessian, 1, 2)).max() < 1e-6 * np.abs(hessian).max()
    values = np.linalg.eigvalsh(hessian)
    top, value, residual = values[:, -1], result["sharpness"][:, 0], result["residual"][:, 0]
    assert (top > 0.1).all()
    assert (value <= top * (1 + 1e-5)).all() and (value >= top - residual - 1e-5 * top).all()
    np.testing.assert_allclose(value, top, rtol=plateaus.TOLERANCE)
    assert (residual <= plateaus.TOLERANCE * value).all()
    wanted = np.mean([ratio(*part) for part in parts], axis=0)
    np.testing.assert_allclose(result["batch_sharpness"][:, 0], wanted, rtol=1e-3)
    assert not np.isclose(wanted, ratio(np.mean([g for g, _ in parts], axis=0), hessian), rtol=0.01).any()


def test_curvature_is_measured_after_the_epochs_that_are_named(few):
    """Each as by a setting of its own that only looks; and measuring changes no bit."""
    setting = small(keep=True, sharp=(0, 2), steep=(0, 2), **BENT)
    result, without = result_of(setting), result_of(replace(setting, sharp=(), steep=()))
    assert same({k: result[k] for k in without}, without)
    assert result.keys() - without.keys() == {*MEASURED}
    start = replace(setting, epochs=0, sharp=(0,), steep=(0,))
    end = replace(start, after=setting)
    for k, one in enumerate((result_of(start), result_of(end, before=result))):
        assert all(np.array_equal(result[name][:, k], one[name][:, 0]) for name in MEASURED)
    assert (result["sharpness"][:, 0] != result["sharpness"][:, 1]).all()


def test_a_batch_without_a_gradient_does_not_count(monkeypatch):
    """Of two images, the first is classified so surely that the gradient is zero to the bit."""
    change = {**BENT, "images": 2, "validation": 2, "batch": 1, "epochs": 0}
    setting = small(after=small(keep=True, **change), sharp=(0,), steep=(0,), **change)
    design, images = setting.design, seen_by(setting)
    layers = made(design, 3, 1)
    layers[1][:, -1] = 5  # both units of the dense layer are on
    hidden, _ = convnets.forward(constant(layers), images.patches, design)
    (a, b) = hidden[1].numpy()[0, :, 0]
    assert a > 0 and b > 0 and a != b
    layers[2][:] = 0
    layers[2][0, 0, images.labels[0]] = 300 / (a - b)
    layers[2][0, -1, images.labels[0]] = -300 / (a - b) * b
    result = result_of(setting, before=kept(layers))
    slope, hessian = explicit(layers, images.part(slice(1, 2)), design, 1e-8)
    assert (slopes(curvature.flat(constant(layers)).numpy(), images.part(slice(1)), design) < 1e-100).all()
    np.testing.assert_allclose(result["batch_sharpness"][:, 0], ratio(slope, hessian), rtol=1e-2)
    monkeypatch.setattr(plateaus, "CURVED", 1)
    result = result_of(setting, before=kept(layers))
    assert np.isnan(result["batch_sharpness"][0, 0]), "there is no other"
    assert result["sharpness"][0, 0] == result["residual"][0, 0] == 0


# Networks that are lost


def test_overflow_is_an_outcome(few):
    """Leaky networks cannot die of it."""
    setting = small(epochs=4, rate=1e12, slope=0.1, sharp=(0, 4), steep=(0, 4), outputs=True, **BENT)
    result = result_of(setting)
    assert not result["finite"].any()
    assert np.isfinite(result["step_loss"][:, 0]).all() and not np.isfinite(result["loss"]).any()
    assert (result["hit"] == 0).all() and (result["predicted"] == 0).all()
    for name in MEASURED:
        assert np.isfinite(result[name][:, 0]).all() and np.isnan(result[name][:, 1]).all()
    assert became(result, seen_by(setting).labels.numpy()) == ["diverged"] * 2


@pytest.mark.parametrize("rate, momentum", [(1e4, 0), (1e8, 0.9), (1e12, 0)])
def test_a_rate_out_of_all_bounds_kills_or_overflows(rate, momentum, labels):
    result = result_of(small(epochs=4, rate=rate, momentum=momentum))
    names = became(result, labels)
    assert set(names) <= {"diverged", "never started"}
    for name, dead in zip(names, (result["silent"] == 1).any(axis=1), strict=True):
        assert dead or name == "diverged"


def test_a_network_that_is_lost_touches_no_other():
    setting = small(after=small(keep=True), window=WINDOW)
    layers = made(setting.design)
    calm = result_of(setting, before=kept(layers))
    for bad in (np.nan, np.inf):
        layers[1][1] = bad
        result = result_of(setting, before=kept(layers))
        assert result["finite"].tolist() == [True, False]
        assert same({k: v[:1] for k, v in result.items()}, {k: v[:1] for k, v in calm.items()})


@pytest.mark.parametrize("layer, bad", list(enumerate([np.nan, np.inf, -np.inf])))
def test_one_parameter_that_is_not_finite_is_enough(layer, bad):
    setting = small(after=small(keep=True), epochs=0)
    layers = made(setting.design)
    layers[layer][0, 1, 1] = bad
    assert result_of(setting, before=kept(layers))["finite"].tolist() == [False, True]


# Dead networks


@pytest.fixture(scope="module")
def dead():
    setting = small(init="dead", epochs=60, rate=0.05, keep=True)
    return setting, result_of(setting)


def test_only_the_bias_of_the_output_of_a_dead_network_moves(dead):
    setting, result = dead
    fresh = convnets.initial(SEEDS, setting.design, "dead")
    assert same(fresh[:-1], layers_of(result)[:-1])
    before, after = fresh[-1].numpy(), result["layer2"]
    assert np.array_equal(before[:, :-1], after[:, :-1])
    assert (before[:, -1] != after[:, -1]).all()
    assert (result["silent"] == 1).all() and (result["dead"] == 1).all()
    still = result_of(replace(setting, epochs=0))
    for r in (result, still):
        assert (r["gradient"][:, :-1] == 0).all() and (r["gradient"][:, -1] > 0).all()
        assert (r["nonzero"] == [0, 0, 1 / 4]).all(), "10 biases of 40 parameters"


def test_a_dead_network_ends_at_the_entropy(dead, labels):
    _, result = dead
    floor = plateaus.entropy(labels)
    assert result["step_loss"][:, 0] == pytest.approx(np.log(10)), "all outputs are zero at first"
    assert (result["loss"] > floor).all()
    assert (result["loss"] - floor < (np.log(10) - floor) / 5).all()
    assert (result["predicted"].max(axis=1) == 1).all(), "it does not look at the image"
    share = np.bincount(labels, minlength=10) / 43
    np.testing.assert_allclose(result["hit"], 100 * share[result["predicted"].argmax(axis=1)])
    p = softmax(result["layer2"][:, -1], axis=1)
    np.testing.assert_allclose(p, np.tile(share, (2, 1)), atol=0.05)
    assert became(result, labels) == ["never started"] * 2


def test_a_leaky_rectifier_has_a_gradient_there():
    start = small(init="dead", epochs=0, keep=True)
    result = result_of(small(after=start, slope=0.1, epochs=0))
    assert np.isfinite(result["gradient"]).all() and (result["gradient"] > 0).all()
    assert (result["nonzero"] > 0).all()
    with pytest.raises(ValueError, match="^init 'dead' needs a slope of 0, got 0.1"):
        small(init="dead", slope=0.1)


# A jump of the rate

FACTORS = [1.0, 4.0, 1e8, 1e30]
JUMPERS = [20, 21, 22]


def jump(**change):
    plan = {"order": 3, "factors": FACTORS, "jump": 2, "back": 3, "watch": 2}
    return {"after": small(keep=True).config()} | plan | change


@pytest.fixture(scope="module")
def origin():
    return result_of(small(keep=True), JUMPERS)


@pytest.fixture(scope="module")
def jumped(origin):
    return plateaus.job(jump(), JUMPERS, origin)


def test_the_shapes_of_a_jump(jumped):
    names = {"peak", "loss", "last", "watched", "dead", "finite"}
    assert {name: values.shape for name, values in jumped.items()} == dict.fromkeys(names, (3, 4))
    assert all(jumped[name].dtype == bool for name in ("watched", "dead", "finite"))


@pytest.mark.parametrize("number", [0, 1])
def test_a_jump_goes_on_as_the_network_alone(number, jumped, origin):
    """At its own rate as if nothing had happened, at a higher one while the jump lasts, then watched."""
    setting, factor = small(), FACTORS[number]
    design, images = setting.design, seen_by(setting)
    for row, seed in enumerate(JUMPERS):
        layers, losses, looks = constant([w[row : row + 1] for w in layers_of(origin)]), [], []
        for epoch in range(7):
            numbers = order.epoch(("jump order", seed, 3 * plateaus.EACH + epoch), 43)[:40].reshape(5, 8)
            rates = np.full(STEPS, 0.1 * factor if epoch < 2 else 0.1)
            layers, _, record = convnets.fit(layers, images, numbers, rates, design=design)
            losses.append(record.loss[0])
            looks.append(convnets.look(layers, images, design).loss[0])
        at = row, number
        assert jumped["peak"][at] == pytest.approx(np.max(losses[:2]), rel=1e-3)
        assert jumped["loss"][at] == pytest.approx(looks[4], rel=1e-3)
        assert jumped["last"][at] == pytest.approx(looks[6 if jumped["watched"][at] else 4], rel=1e-3)
        assert jumped["finite"][at] and not jumped["dead"][at]


def test_those_are_watched_that_look_lost_and_need_not_be(jumped, labels):
    flat = ~(jumped["loss"] < FLAT * plateaus.entropy(labels))
    assert jumped["watched"].any(), "after so few updates some are flat"
    assert (flat[jumped["watched"]]).all()
    assert (jumped["last"] != jumped["loss"])[jumped["watched"]].all()
    assert np.array_equal(*(jumped[name][~jumped["watched"]] for name in ("last", "loss")), equal_nan=True)


def test_a_huge_factor_breaks_the_network(jumped):
    """1e8 switches it off or overflows it, 1e30 overflows it; no error, and no harm to the others."""
    assert jumped["finite"][:, :2].all() and not jumped["dead"][:, :2].any()
    assert (jumped["dead"] | ~jumped["finite"])[:, 2:].all() and not jumped["watched"][:, 2:].any()
    assert not (jumped["peak"][:, 2] < 1e3).any() and not np.isfinite(jumped["peak"][:, 3]).any()


def test_a_jump_depends_on_the_network_and_the_order(jumped, origin):
    for row, seed in enumerate(JUMPERS):
        alone = plateaus.job(jump(), [seed], {k: v[row : row + 1] for k, v in origin.items()})
        for name in alone:
            np.testing.assert_allclose(alone[name][:, :2], jumped[name][row : row + 1, :2], rtol=1e-3)
    other = plateaus.job(jump(order=4), JUMPERS, origin)
    assert (other["loss"][:, :2] != jumped["loss"][:, :2]).all()


# The length of steps, and other images


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_length_of_a_step_is_how_far_the_weights_move(clip):
    setting = small(epochs=1, images=8, keep=True, lengths=True, clip=clip)
    start = convnets.initial(SEEDS, setting.design, setting.init)
    result = result_of(setting)
    apart = curvature.flat(layers_of(result)) - curvature.flat(start)
    np.testing.assert_allclose(result["length"][:, 0], np.linalg.norm(apart, axis=1), rtol=1e-3)
    assert clip is None or (result["length"] <= 0.1 * clip * (1 + 1e-6)).all()


def test_a_network_learns_other_images(labels):
    setting = small(source="digits", pixels="standardised", images=100)
    x, y = imagesets.load("digits")
    assert np.array_equal(seen_by(setting).labels, y[:100])
    assert np.array_equal(unseen_by(setting).labels, y[1300:1320])
    assert setting.config()["content"] == imagesets.content("digits")
    with pytest.raises(ValueError, match="^validation must be at most 497 of digits, got 498"):
        small(source="digits", validation=498)
    assert np.isfinite(result_of(setting)["train"]).all()


# Outcomes. The entropy is 2: what is learned lies below 1, what is flat from 1.9 on.

ENTROPY = 2.0
ON, BETWEEN, UP = 0.1, 1.5, 2.2
SPLIT, FLOOR = LEARNED * ENTROPY, FLAT * ENTROPY
BELOW = np.nextafter(SPLIT, 0), np.nextafter(FLOOR, 0)
BY_HAND = {  # losses, what is dead at the end, and whether all is finite
    "trained": [([UP, ON, UP, UP, ON, ON, ON], (0.99,), True), ([BELOW[1], UP, UP, ON, ON, ON], (0,), True)],
    "late bloomer": [([UP, np.nan, UP, ON, ON, ON], (0,), True), ([FLOOR, UP, UP, ON, ON, ON], (0.5,), True)],
    "unfinished": [([UP, UP, UP, 1.7, 1.5, 1.4], (0,), True), ([SPLIT] * 4, (0, 0), True)],
    "oscillating": [([UP, 1.4, 1.5, 1.6, 1.5], (0,), True), ([BETWEEN, ON, ON, np.nan], (0,), True)],
    "never started": [([BETWEEN, FLOOR, UP, FLOOR], (0,), True), ([BETWEEN, 1.4, 1.3, 1.2], (0, 1), True)],
    "trained, then collapsed": [([BELOW[0], UP, UP, UP], (0,), True), ([ON, ON, ON, ON], (1, 0), True)],
    "diverged": [([ON] * 4, (0, 0), False), ([ON, *[np.nan] * 3], (1, 1), False)],
}  # fmt: skip


def test_the_entropy_sets_the_scale():
    train = np.array([[UP, UP, UP, 0.9, 0.9, 0.9]])
    for scale in (1e-3, 1, 7):
        assert plateaus.outcome(scale * train, [[0]], [True], scale * ENTROPY) == ["late bloomer"]
    assert plateaus.outcome(train, [[0]], [True], 1.0) == ["unfinished"]
    assert plateaus.outcome(train, [[0]], [True], 0.9) == ["never started"]


def by_rule(train, dead, finite):
    """All names whose rule holds, each rule for itself.

    Once below the end of what is learned is once learned; a loss that is no number is flat. Exactly at one
    end is not learned, at the other it is flat.
    """
    learned = [t < SPLIT for t in train]
    flat = [not t < FLOOR for t in train]
    gone, well = all(flat[-3:]) or 1 in dead, all(learned[-3:])
    lowest = not any(learned[:-3]) and all(train[-1] <= t for t in train)
    rules = {
        "diverged": not finite,
        "trained, then collapsed": finite and gone and any(learned),
        "never started": finite and gone and not any(learned),
        "late bloomer": finite and not gone and well and all(flat[:3]),
        "trained": finite and not gone and well and not all(flat[:3]),
        "unfinished": finite and not gone and not well and lowest,
        "oscillating": finite and not gone and not well and not lowest,
    }
    assert rules.keys() == OUTCOMES.keys() == BY_HAND.keys()
    return [name for name, holds in rules.items() if holds]


def test_the_rules_are_those_of_runs_judged_by_hand():
    assert {name: [by_rule(*run) for run in runs] for name, runs in BY_HAND.items()} == {
        name: [[name]] * len(runs) for name, runs in BY_HAND.items()
    }


LEVELS = *BELOW, FLOOR, np.nan, np.inf, SPLIT  # learned; neither; flat, three times; neither


@pytest.mark.parametrize("epochs, levels", [(4, 6), (5, 6), (6, 5), (7, 3)])
def test_every_run_has_exactly_one_outcome(epochs, levels):
    """All runs of so few epochs at so many levels, whatever is dead at the end and whether it is finite."""
    ends = [((0, 0), True), ((0.99, 0), True), ((0, 1), True), ((1, 0), False)]
    runs = [(t, *end) for t in itertools.product(LEVELS[:levels], repeat=epochs) for end in ends]
    names = plateaus.outcome(*(np.array(part) for part in zip(*runs, strict=True)), ENTROPY)
    assert names.shape == (len(runs),)
    assert [[name] for name in names] == [by_rule(*run) for run in runs]


def test_a_network_without_a_hidden_layer_that_is_measured_is_not_dead():
    assert plateaus.outcome([[ON] * 4], np.zeros((1, 0)), [True], ENTROPY) == ["trained"]


def test_curves_that_do_not_fit_are_refused():
    good = {"train": np.ones((2, 4)), "dead": np.zeros((2, 3)), "finite": [True, True], "entropy": 2.3}
    assert plateaus.outcome(**good).shape == (2,)
    shapes = r"^train must be \(M, E\) with more than 3 epochs"
    for name, values, message in (
        ("train", [np.ones(shape) for shape in ((2, LATE), 4, (3, 4), (2, 4, 1))], shapes),
        ("dead", [np.zeros((3, 3)), np.zeros(2)], shapes),
        ("finite", [[True], True, [[True, True]]], shapes),
        ("entropy", [0, -1.0, np.nan, np.inf], "^entropy must be above 0 and finite"),
    ):
        for value in values:
            with pytest.raises(ValueError, match=message):
                plateaus.outcome(**good | {name: value})


# a dead network, the short way


@pytest.mark.parametrize("more", [{}, {"rate": 3.0, "sampling": "drawn"}])
def test_only_the_biases_of_a_dead_network_are_trained_and_nothing_else_differs(more, monkeypatch):
    setting = small(**{"init": "dead", "epochs": 3, "keep": True, "outputs": True} | more)
    short, calls = result_of(setting, range(2)), []

    def plainly(layers, setting, batches, rates):
        calls.append(len(batches))
        layers, _, record = convnets.fit(layers, seen_by(setting), batches, rates, design=setting.design)
        return layers, record

    monkeypatch.setattr(plateaus, "_biases_only", plainly)
    whole = result_of(setting, range(2))
    assert sum(calls) == setting.steps
    assert whole.keys() == short.keys()
    for name in whole:
        assert np.array_equal(whole[name], short[name]), name
    assert np.ptp(short["output"], axis=1).max() > 0


def test_a_network_that_may_come_back_is_trained_as_a_whole(monkeypatch):
    monkeypatch.setattr(plateaus, "_biases_only", lambda *_: pytest.fail("not dead"))
    dead = small(init="dead", epochs=1, keep=True)
    before = result_of(replace(dead, epochs=0))
    result_of(replace(dead, init="glorot", slope=0.1, after=dead), before=before)
    for setting in (small(epochs=1), replace(dead, momentum=0.5), replace(dead, clip=1.0)):
        result_of(setting)


# What else runs show, by hand


def test_overfitted_and_jumping_by_hand():
    assert plateaus.overfitted(np.array([0.09, 0.11, 0.09]), np.array([0.3, 0.4, 0.28])).tolist() == [1, 0, 0]
    losses = np.array([[9, *[1] * 9, 1.4], [1] * 10 + [1.5], [1] * 10 + [1.5], [1] * 10 + [np.nan]])
    dead = np.array([[0, 0.5], [0, 0], [0, 1], [0, 0]])
    assert plateaus.jumping(losses, dead, np.full(4, True)).tolist() == [False, True, False, True]
    assert not plateaus.jumping(losses, dead, np.full(4, False)).any()


def test_the_moments_of_a_collapse_by_hand():
    losses = np.r_[np.zeros(200), np.full(100, 2.0)]
    assert plateaus.turned(losses, 2.0) == 224, "with a mean of 1 a span is not learned"
    wanted, b = np.full((6, 10), 0.1), np.zeros((6, 10))
    b[:3, 0] = 1, 2, 3
    b[3:, 0] = 5
    for t in (4, 5):  # from 3 on the biases alone move
        b[t] = b[t - 1] - 0.1 * (softmax(b[t - 1]) - wanted[t - 1])
    assert plateaus.died(b, wanted, 0.1) == 3


def test_threshold_and_score_by_hand():
    ruler, lost = np.array([1.0, 4.0, 9.0]), np.array([[0, 1, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    assert plateaus.threshold(ruler, lost) == pytest.approx(4 * (9 / 4) ** (1 / 3))
    assert [plateaus.threshold(ruler, np.full((1, 3), gone)) for gone in (0, 1)] == [9, 1]
    asked = np.array([[1, 1], [0, 1], [0, 0]], bool)
    score = plateaus.brier(np.full((3, 2), 0.5), np.array([[1, 0], [1, 1], [0, 0]]), asked)
    assert score.tolist() == [0.25, 0.25]
    rulers, lost = [np.array([[1.0, 3.0], [5.0, 6.0]])], [np.array([[[0, 1], [1, 1]], [[0, 0], [1, 1]]])]
    assert plateaus.in_band(rulers * 2, lost * 2, 2, 4).tolist() == [0.5]
    assert plateaus.in_band(rulers, lost, 0, 9).tolist() == [0.25, 1]


def test_the_excess_is_none_at_the_bottom():
    shares = np.arange(1, 11) / 55
    bottom = np.broadcast_to(np.log(shares), (1, 9, 10))
    level = stats.entropy(shares)
    assert plateaus.excess(bottom, shares, level)[0] == pytest.approx(0, abs=1e-12)
    assert plateaus.excess(0 * bottom, shares, level)[0] == pytest.approx(np.log(10) - level)
