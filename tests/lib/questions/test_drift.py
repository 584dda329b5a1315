"""Legs of a walk against plain loops; a walk that was killed against one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from lib import nets, order, train
from lib.backend import tf
from lib.ensembles import ensemble
from lib.questions import drift, quiet
from lib.questions.drift import Setting

ROOT = Path(__file__).resolve().parents[3]
TWO = {"rates": (0.05, 0.2), "decays": (0.0, 0.01)}


def small(**change):
    return Setting(**{"updates": 300, "hidden": (3,), "batch": 4, "images": 42, "validation": 20} | change)


def result_of(setting, seed=5):
    before = result_of(setting.after, seed) if setting.after else None
    return drift.job(setting.config(), [seed], before)


def layers_of(result, arm=0):
    return [result[f"w{k}"][0, arm] for k in range(3) if f"w{k}" in result]


# Settings


@pytest.mark.parametrize(
    "change, message",
    [
        ({"updates": 150}, "updates must be a multiple of 100, got 150"),
        ({"updates": -100}, "updates must be a whole number from 0"),
        *(({"hidden": hidden}, "hidden must be 1 to 2 whole numbers") for hidden in ((), (3, 3, 3))),
        ({"hidden": (0,)}, "hidden must be 1 to 2 whole numbers from 1 to 1000, got"),
        ({"rates": ()}, "rates must be one or more numbers from 1e-12"),
        ({"rates": (0.1, 0.1)}, "decays must be as many as rates, got 1 for 2 rates"),
        ({"decays": (-1.0,)}, "decays must be one or more numbers from 0"),
        ({"loss": "quadratic"}, "loss must be one of"),
        ({"sampling": "cycled"}, "sampling must be one of"),
        ({"batch": 43}, "batch must be at most the 42 images, got 43"),
        ({"images": 50_001}, "images must be a whole number from 1 to 50000"),
        ({"order": -1}, "order must be a whole number"),
        ({"after": 3}, "after must be a Setting that keeps its networks, got 3"),
        ({"after": Setting(hidden=(4,))}, r"hidden is \(3,\), but \(4,\) in the one before"),
        ({"after": Setting(hidden=(3,), **TWO)}, "arms is 1, but 2 in the one before"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        small(**change)


# Times and legs


def test_times_are_waiting_times_and_log_spaced_lags():
    times = drift.times(np.array([0, 500]), np.int64(2000), np.int64(1))
    assert times == drift.times([0, 500], 2000, 1) and {type(t) for t in times} == {int}
    assert drift.times([0, 500], 2000, 1) == [0, 100, 500, 600, 1000, 1500, 2000]
    found = drift.times([200_000], 1_200_000, 4)
    lags = np.array(found[1:]) - 200_000
    assert lags[:5].tolist() == [100, 200, 300, 600, 1000]  # whole hundreds
    np.testing.assert_allclose(np.log10(lags[5:]), 2 + np.arange(5, 17) / 4, atol=0.01)
    assert found[0] == 200_000 and not any(t % 100 for t in found)


@pytest.mark.parametrize(
    "waiting, last, per_decade, message",
    [
        *(
            (waiting, last, 4, "waiting times and the last must be multiples of 100")
            for waiting, last in (([], 1000), ([50], 1000), ([-100], 1000), ([100], 1050))
        ),
        ([100, 1000], 1000, 4, "the last after all others"),
        *(([100], 1000, count, "per_decade must be a whole number from 1") for count in (0, 1.5)),
    ],
)
def test_times_that_do_not_fit_are_refused(waiting, last, per_decade, message):
    with pytest.raises(ValueError, match=message):
        drift.times(waiting, last, per_decade)


def test_a_walk_ends_at_its_times_in_legs_of_limited_length():
    first = small(updates=0)
    times = [0, 100, 700, 250_000]
    legs = drift.walk(first, times)
    assert list(legs) == times and [leg.end for leg in legs.values()] == times
    assert legs[0] is first and legs[700].after is legs[100]
    chain, leg = [], legs[250_000]
    while leg is not legs[700]:
        chain, leg = [leg.updates, *chain], leg.after
    assert chain == [100_000, 100_000, 49_300]
    assert {leg.rates for leg in legs.values()} == {first.rates}


def test_the_longest_walk_has_a_configuration():
    times = drift.times([0, 10**6, 10**9], 2 * 10**9, 20)
    leg = drift.walk(small(updates=0), times)[2 * 10**9]
    assert leg.end == 2 * 10**9
    assert Setting.of(json.loads(json.dumps(leg.config()))).end == leg.end


def test_a_walk_of_more_legs_than_python_can_nest_is_refused():
    """Nineteen waiting times with twenty lags in a decade; the most that is taken has a configuration."""
    many = drift.times([100_000 * k for k in range(1, 20)], 3_000_000, 20)
    with pytest.raises(ValueError, match="^a walk must have at most 800 legs, got times for 1[0-9]{3}: take"):
        drift.walk(small(updates=0), many)
    longest = drift.walk(small(updates=0), many[: drift.LEGS - 1])
    with pytest.raises(ValueError, match="^a walk must have at most 800 legs, got times for 801"):
        drift.walk(longest[many[drift.LEGS - 2]], [many[drift.LEGS - 1]])
    leg = longest[many[drift.LEGS - 2]]
    assert leg.depth == drift.LEGS - 1
    assert Setting.of(json.loads(json.dumps(leg.config()))).end == leg.end


@pytest.mark.parametrize("times", [[], [100, 100], [200, 100]])
def test_a_walk_refuses_times_that_do_not_rise(times):
    with pytest.raises(ValueError, match="times must be rising"):
        drift.walk(small(updates=0), times)
    with pytest.raises(ValueError, match="times must be from 300 on"):
        drift.walk(small(), [200])


# Batches


@pytest.mark.parametrize("sampling", order.SAMPLING)
def test_batches_are_those_of_whole_epochs_wherever_a_leg_begins(sampling):
    setting = small(order=1, sampling=sampling)  # of 42 images, 40 in each epoch
    orders = [order.epoch(("drift order", 3, 1, epoch), 42, sampling) for epoch in range(4)]
    whole = np.concatenate([order.batches(images, 4) for images in orders])
    for first, count in ((0, 40), (1, 39), (10, 10), (17, 20)):
        assert np.array_equal(drift.batches(setting, 3, first, count), whole[first : first + count])


# Fresh networks


def test_fresh_networks_are_those_of_he_and_alike_in_all_arms():
    layers = [w.numpy() for w in drift.fresh(7, (40, 30), 3)]
    assert [w.shape for w in layers] == [(3, 785, 40), (3, 41, 30), (3, 31, 10)]
    for w in layers:
        assert (w == w[:1]).all() and (w[:, -1] == 0).all()
        # a normal distribution cut at two standard deviations keeps 0.880 of its own
        sd = np.sqrt(2 / (w.shape[1] - 1))
        assert w[0, :-1].std() == pytest.approx(0.880 * sd, rel=0.1)
        assert np.abs(w).max() <= 2 * sd
    assert not np.array_equal(layers[0], drift.fresh(8, (40, 30), 3)[0])


# Training


def plain(layers, x):
    """The images and the activations of hidden rectifiers, and the outputs before any function."""
    values = [x]
    for w in layers[:-1]:
        values.append(np.maximum(values[-1] @ w[:-1] + w[-1], 0))
    return values, values[-1] @ layers[-1][:-1] + layers[-1][-1]


def plain_sgd(layers, x, y, batches, rate, decay, loss):
    """In float64, with the mean loss of a batch, as a textbook writes it."""
    layers = [w.astype(float) for w in layers]
    for batch in batches:
        values, z = plain(layers, x[batch].astype(float))
        if loss == "cross-entropy":
            z = softmax(z, axis=1)
        d = (z - np.eye(10)[y[batch]]) / len(batch)
        for k in range(len(layers) - 1, -1, -1):
            w, below = layers[k], values[k]
            gradient = np.vstack([below.T @ d + decay * w[:-1], d.sum(axis=0)])
            d = (d @ w[:-1].T) * (below > 0)
            layers[k] = w - rate * gradient
    return layers


@pytest.mark.parametrize("hidden, loss, scale", [((3,), "cross-entropy", 1), ((4, 3), "squared error", 0.1)])
def test_a_leg_is_plain_sgd_of_each_arm(hidden, loss, scale, split):
    rates = tuple(scale * r for r in TWO["rates"])
    setting = small(hidden=hidden, loss=loss, rates=rates, decays=TWO["decays"])
    result = result_of(setting)
    x = split.train[0][:42].astype(np.float32) / np.float32(255)
    batches = drift.batches(setting, 5, 0, 300)
    begin = [w.numpy() for w in drift.fresh(5, hidden, 2)]
    for arm in range(2):
        wanted = plain_sgd(
            [w[arm] for w in begin], x, split.train[1][:42], batches, rates[arm], TWO["decays"][arm], loss
        )
        for w, v, b in zip(layers_of(result, arm), wanted, begin, strict=True):
            assert np.abs(v - b[arm]).max() > 0.01  # it has moved
            np.testing.assert_allclose(w, v, atol=2e-4)


def test_an_arm_does_not_depend_on_the_others():
    together, alone = result_of(small(**TWO)), result_of(small(rates=(0.2,), decays=(0.01,)))
    for a, b in zip(layers_of(together, 1), layers_of(alone), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_two_legs_are_one_to_the_bit():
    whole = result_of(small(**TWO))
    parts = result_of(small(after=small(updates=200, **TWO), updates=100, **TWO))
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_a_clone_leaves_with_another_order():
    on, clone = (result_of(small(after=small(updates=100), updates=100, order=order)) for order in (0, 1))
    assert not np.array_equal(on["w1"], clone["w1"])


def test_what_a_snapshot_says_of_its_networks(split):
    result = result_of(small(**TWO))
    for arm in range(2):
        for name, part, n in (("train", split.train, 42), ("validation", split.validation, 20)):
            (_, h), z = plain(layers_of(result, arm), part[0][:n].astype(float) / 255)
            labels = part[1][:n]
            loss = logsumexp(z, axis=1) - z[np.arange(n), labels]
            assert result[f"{name}_loss"][0, arm] == pytest.approx(loss.mean(), rel=1e-4)
            assert result[f"{name}_error"][0, arm] == pytest.approx(100 * (z.argmax(axis=1) != labels).mean())
            if name == "train":
                assert np.array_equal(result["live0"][0, arm], (h > 0).any(axis=0))


def test_dead_units_are_named():
    result = result_of(small(updates=0))
    assert result["live0"].tolist() == [[[True, True, True]]]
    result["w0"][:, :, -1, 1] = -1e3  # no image lifts it
    after = drift.job(small(after=small(updates=0), updates=0).config(), [5], result)
    assert after["live0"].tolist() == [[[True, False, True]]]


def test_a_network_that_overflows_is_kept_as_it_is():
    setting = small(loss="squared error", rates=(0.01, 100.0), decays=(0.0, 0.0))
    result = result_of(setting)
    finite = [all(np.isfinite(w).all() for w in layers_of(result, arm)) for arm in range(2)]
    assert finite == [True, False]


def test_more_than_one_seed_at_a_time_is_refused():
    with pytest.raises(ValueError, match="seeds must be 1 at once, got 2"):
        drift.job(small().config(), [1, 2])


# A walk that is killed


def end_of_walk():
    """The first layer at the end of a walk of 40 legs."""
    first = Setting(hidden=(2,), batch=2, images=20, validation=5)
    with mock.patch.object(drift, "LONGEST", 500):
        leg = drift.walk(first, [0, 20_000])[20_000]
    return ensemble.run(drift.job, {"end": leg.config()}, [8], chunk=1, workers=1)["end"]["w0"]


def process(code, **more):
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    words, environment = [sys.executable, "-W", "ignore", "-c", code], os.environ | {"PYTHONPATH": paths}
    return subprocess.Popen(words, env=environment, text=True, **more)


def test_a_walk_that_was_killed_goes_on_from_its_last_snapshot_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("SGD_BOOK_PROGRESS", str(tmp_path / "progress"))

    def finished(place):
        return {path.name: (path.stat().st_ino, path.read_bytes()) for path in place.glob("*.chunk")}

    cut, whole = tmp_path / "cut", tmp_path / "whole"
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(cut))
    run = process("import test_drift\ntest_drift.end_of_walk()", stderr=subprocess.DEVNULL)
    while len(list(cut.glob("*.chunk"))) < 5 and run.poll() is None:
        time.sleep(0.01)
    assert run.poll() is None, "it ended before it could be killed"
    run.send_signal(signal.SIGKILL)
    run.wait()
    before, resumed = finished(cut), end_of_walk()
    assert 5 <= len(before) < 41
    after = finished(cut)
    assert before.items() <= after.items(), "what was there is not written anew"
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(whole))
    assert np.array_equal(resumed, end_of_walk()) and len(after) == 41
    assert {name: text for name, (_, text) in finished(whole).items()} == {k: v[1] for k, v in after.items()}


LEGS = """
import resource, sys
from lib.questions import drift
first = drift.Setting(updates=0, hidden=(50,), batch=2, images=20, validation=5)
result, peaks = drift.job(first.config(), [8]), []
leg = drift.Setting(after=first, updates=100, hidden=(50,), batch=2, images=20, validation=5)
for count in (20, 200):
    for _ in range(count):
        result = drift.job(leg.config(), [8], result)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


def test_memory_does_not_grow_with_the_walk():
    """After 20 legs and after 220: their networks alone would be 31 MB."""
    done = process(LEGS, stdout=subprocess.PIPE)
    grown, _ = done.communicate(timeout=300)
    unit = 1 if sys.platform == "darwin" else 1024
    assert done.returncode == 0 and int(grown) * unit < 20e6


# What a snapshot says


def test_losses_of_a_network_without_an_opinion():
    layers = [tf.zeros((2, *shape)) for shape in nets.shapes([784, 3, 10])]
    x, y = np.random.default_rng(0).random((50, 784), np.float32), np.arange(50, dtype=np.int32) % 10
    z = nets.forward(layers, x, "relu")[-1]
    loss, error = drift.losses(z, y, "cross-entropy")
    np.testing.assert_allclose(loss, np.log(10), rtol=1e-6)
    np.testing.assert_allclose(error, 90)
    np.testing.assert_allclose(drift.losses(z, y, "squared error")[0], 0.5)


def test_outputs_that_are_not_finite_are_wrong_and_not_taken_for_a_class():
    z = np.zeros((2, 10, 10), np.float32)
    z[0] += np.eye(10)
    z[1] = np.nan
    _, error = drift.losses(tf.constant(z), np.arange(10), "cross-entropy")
    assert error.tolist() == [0, 100]


# The objective, and less noise


def test_the_objective_is_watched_at_its_times_once_each(split):
    whole = small(watched=(100, 200), **TWO)  # 300 updates
    found, wanted = result_of(whole), 0.0
    assert drift.looks_of(whole) == [100, 200] and found["looks"].tolist() == [[2, 2]]
    for updates in (100, 200):
        at = result_of(small(updates=updates, **TWO))
        squares = np.array([sum((w[:-1] ** 2).sum() for w in layers_of(at, arm)) for arm in range(2)])
        wanted += at["train_loss"][0] + np.array(TWO["decays"]) / 2 * squares
    np.testing.assert_allclose(found["objective"][0], wanted, rtol=1e-4)
    parts = [result_of(small(updates=200, watched=(100, 200), **TWO))["objective"]]
    assert np.allclose(found["objective"], parts[0], rtol=1e-5)  # also where a leg ends at a look


def test_arms_can_be_taken_from_other_arms():
    trunk = small(updates=100, **TWO)
    on = small(after=trunk, updates=100, taken=(1, 0, 1), rates=(0.2, 0.05, 0.2), decays=(0.01, 0.0, 0.01))
    plain = result_of(small(after=trunk, updates=100, **TWO))
    for arm, old in enumerate(on.taken):
        np.testing.assert_allclose(layers_of(result_of(on), arm)[0], layers_of(plain, old)[0], atol=1e-5)
    assert drift.walk(on, [300])[300].taken == ()


def test_noise_is_taken_off_in_parts(split):
    """At the anchor: with none left the step of all images, with a quarter of the variance half way there."""
    inputs = train.Inputs(split.train[0][:42].astype(np.float32) / np.float32(255))
    targets = np.eye(10, dtype=np.float32)[split.train[1][:42]]
    layers = tuple(tf.repeat(w[:1], 3, axis=0) for w in drift.fresh(5, (4, 3), 1))
    slope = train.gradient(layers, inputs, targets, hidden="relu", loss="cross-entropy")
    arms = (0.1,) * 3, (0.01,) * 3, (0.0, 0.25, 1.0)  # rates, decays, what is left of the noise
    found = quiet.fit(layers, layers, slope, inputs, targets, np.array([[3, 8, 20]]), *arms, "cross-entropy")
    for new, old, g in zip(found, layers, slope, strict=True):
        new, old = new.numpy(), old.numpy()
        decayed = np.concatenate([old[0, :-1], 0 * old[0, -1:]])
        np.testing.assert_allclose(new[0], old[0] - 0.1 * (g.numpy()[0] + 0.01 * decayed), atol=1e-6)
        np.testing.assert_allclose(new[1], (new[0] + new[2]) / 2, atol=1e-6)
        assert np.abs(new[2] - new[0]).max() > 1e-3


def test_with_all_of_its_noise_the_walk_is_the_walk():
    on = {"after": small(updates=100, **TWO), "updates": 200, **TWO}
    for a, b in zip(*(layers_of(result_of(small(**on, noises=n)), 1) for n in (None, (1, 1))), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
