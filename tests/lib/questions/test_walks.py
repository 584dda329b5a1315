"""Walks of convolutional networks against plain steps, and walks in pieces against whole ones."""

import json

import numpy as np
import pytest

from lib import convnets, data
from lib.backend import tf
from lib.questions import drift, walks
from lib.questions.walks import Setting


def small(**change):
    return Setting(**{"updates": 200, "channels": (2, 2), "dense": (3,), "images": 42, "batch": 4} | change)


def result_of(setting, seeds=(5, 6)):
    before = result_of(setting.after, seeds) if setting.after else None
    return walks.job(setting.config(), seeds, before)


def layers_of(result):
    return [result[f"w{k}"] for k in range(4)]


def test_a_setting_goes_through_json():
    setting = small(after=small(updates=100, order=2))
    text = json.loads(json.dumps(setting.config()))
    assert Setting.of(text) == setting
    assert text["data"] == data.CONTENT_SHA256 and setting.end == 300


@pytest.mark.parametrize(
    "change, message",
    [
        ({"updates": 150}, "updates must be a multiple of 100, got 150"),
        ({"batch": 43}, "batch must be at most the 42 images, got 43"),
        ({"rate": 0.0}, "rate must be a number"),
        ({"after": Setting(channels=(4, 8))}, r"channels is \(2, 2\), but \(4, 8\) in the one before"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        small(**change)


def test_the_patches_are_those_of_the_engine():
    """Sixteen pixels for a window, in 2x2 blocks, hold the nine for each of its four corners."""
    x, y = np.random.default_rng(0).random((6, 784), np.float32), np.zeros(6, int)
    for channels in ((1,), (1, 1), (1, 1, 1)):
        design = convnets.Design(channels)
        wanted = convnets.images(x, y, design).patches.numpy().transpose(1, 0, 2, 3)
        found = walks.patches(x.reshape(2, 3, 28, 28), design).numpy()
        found = found.reshape(6, -1, 2, 2, 2, 2).swapaxes(3, 4).reshape(6, -1, 4, 4)
        found = np.stack([found[:, :, i : i + 3, j : j + 3] for i in (0, 1) for j in (0, 1)], axis=1)
        assert np.array_equal(found.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("channels", [(3,), (3, 2), (2, 3, 4)], ids=str)
def test_the_patches_give_what_the_engines_give(channels):
    """Which has nine pixels for each corner of a window instead of sixteen for all four; to rounding."""
    x, y = np.random.default_rng(0).random((6, 784), np.float32), np.zeros(6, int)
    design = convnets.Design(channels, (5,), 0.125)
    layers = convnets.initial([1, 2], design, "he")
    cut = convnets.images(x, y, design).patches.numpy().transpose(1, 0, 2, 3)
    own = cut.reshape(2, 3, *cut.shape[1:])
    found, wanted = (
        (*hidden, z)
        for patches in (walks.patches(x.reshape(2, 3, 28, 28), design), own)
        for hidden, z in [convnets.forward(layers, tf.constant(patches), design)]
    )
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_a_leg_is_plain_descent_on_the_cost():
    """Against the engine's gradients, update by update."""
    decay, seeds = 0.1, [5, 6]
    setting = small(updates=100, decay=decay)
    found = result_of(setting, seeds)
    pixels, digits = data.subset(data.load(), 0, setting.images)
    shown = np.stack([walks.batches(setting, seed, 0, 100) for seed in seeds], axis=1)
    layers, costs = [w.numpy() for w in convnets.initial(seeds, setting.design, "he")], []
    for step in shown:
        cost = []
        for m, chosen in enumerate(step):
            x = convnets.images(data.scale(pixels[chosen], 255, "float32"), digits[chosen], setting.design)
            own = [w[m : m + 1] for w in layers]
            cost.append(convnets.look(own, x, setting.design).loss[0])
            slopes = convnets.gradient(own, x, setting.design)
            for w, g in zip(layers, slopes, strict=True):
                cost[m] += decay / 2 * (w[m] ** 2).sum()
                g[0] += decay * w[m]
                w[m] -= setting.rate * g[0].astype(np.float32)
        costs.append(cost)
    for a, b in zip(layers, layers_of(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["cost"][:, 0], np.mean(costs, axis=0), rtol=1e-4)


def test_legs_and_companions_change_nothing():
    """A walk in several legs is one, beyond a piece as well, and a seed walks alone as among others."""
    parts = small(updates=100)
    for updates in (1000, 200):
        parts = small(updates=updates, after=parts)
    whole, alone = result_of(small(updates=1300)), result_of(small(updates=1300), [6])
    for a, b, c in zip(*(layers_of(r) for r in (result_of(parts), whole, alone)), strict=True):
        assert np.array_equal(a, b)
        np.testing.assert_allclose(c[0], b[1], rtol=1e-3, atol=1e-4)


def test_clones_begin_alike_and_part():
    first = small()
    one, two = (small(after=first, updates=updates, order=1) for updates in (0, 100))
    assert np.array_equal(result_of(one)["w0"], result_of(first)["w0"])
    assert not np.array_equal(result_of(two)["w0"], result_of(small(after=first, updates=100))["w0"])
    assert not np.array_equal(
        walks.batches(first, 5, 0, 10), drift.batches(drift.Setting(images=42), 5, 0, 4)
    )
