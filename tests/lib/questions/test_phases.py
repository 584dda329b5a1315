"""Nielsen's network in phases: against his algorithm, step by step, and the laws of phases and changes."""

import json
from dataclasses import replace

import nielsen
import numpy as np
import pytest
from alike import same

from lib import data, nets, order, streams, train
from lib.questions import phases
from lib.questions.phases import Phase

QUADRATIC = {"hidden": "sigmoid", "loss": "quadratic"}


# Nielsen's algorithm, one image at a time


@pytest.fixture(scope="session")
def columns(split):
    """The training images for the port: columns, and classes as columns."""
    pairs = zip(*(part[:250] for part in split.train), strict=True)
    return [(image[:, None] / 256, np.eye(10)[:, [digit]]) for image, digit in pairs]


@pytest.fixture(scope="session")
def tests(split):
    x, y = split.test
    return [image[:, None] / 256 for image in x], y


def port(layers, member):
    """One member as a network of the port."""
    layers = [np.asarray(layer)[member] for layer in layers]
    return nielsen.Network([w[:-1].T for w in layers], [w[-1:].T for w in layers])


def difference(network, layers, member):
    """Largest difference of a weight or bias."""
    other = port(layers, member)
    pairs = zip(network.weights + network.biases, other.weights + other.biases, strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


# A chain of jobs against it, for three networks.

SEEDS = [46, 47, 48]


def small(**change):
    return Phase(**{"epochs": 2, "images": 250, "hidden": 6, "looks": (0, 1, 2), "keep": True} | change)


def result_of(phase, seeds=SEEDS, before=None):
    """The arrays of a phase and, unless given, of all before it."""
    if phase.after is not None and before is None:
        before = result_of(phase.after, seeds)
    return phases.job(phase.config(), seeds, before)


def layers_of(result):
    return [result["layer0"], result["layer1"]]


def networks(*layers):
    """Layers as a phase that keeps them leaves them."""
    return dict(zip(("layer0", "layer1"), layers, strict=True))


def fresh_layers(purpose="initial", depth=0):
    stream = streams.weights(purpose, depth)
    return [w.numpy() for w in nets.normal(SEEDS, nets.shapes((784, 6, 10)), stream)]


def right(result):
    """How many of the 10,000 test images are classified rightly."""
    return np.rint(result["accuracy"] * 100).astype(int)


def by_nielsen(networks, columns, number, phase):
    """The port through the epochs of a phase, in the orders that the job takes; yields after each."""
    for epoch in range(phase.epochs):
        for seed, network in zip(SEEDS, networks, strict=True):
            images = order.epoch(("phase order", seed, number, epoch), phase.images)
            network.epoch([columns[i] for i in images], phase.batch, phase.rate)
        yield


def test_a_chain_of_jobs_is_nielsens_with_the_same_orders(columns, tests):
    """Weights of up to 20 to 1e-11 after each phase, and the same images right. 60 does not divide 250."""
    healthy = small(batch=60)
    broken = small(after=healthy, batch=5000, rate=300.0)
    recovered = small(after=broken, batch=60)
    ported, before = [port(fresh_layers(), m) for m in range(3)], None
    images = np.hstack(tests[0])

    def hits(network):  # as `evaluate`, all images at once
        return (network.feedforward(images).argmax(axis=0) == tests[1]).sum()

    for number, phase in enumerate((healthy, broken, recovered)):
        result = result_of(phase, before=before)
        counts = [[hits(n) for n in ported]]
        for _ in by_nielsen(ported, columns, number, phase):
            counts.append([hits(n) for n in ported])
        assert right(result).tolist() == np.transpose(counts).tolist()
        for m, network in enumerate(ported):
            assert difference(network, layers_of(result), m) < 1e-11
        before = result
    assert len(np.unique(counts)) > 3
    assert np.abs(result["layer1"]).max() > 10, "it is the break that is compared"


def test_the_number_of_updates_in_an_epoch(columns):
    """Nielsen's on the first images of each order; more than there are is all of them."""
    for updates, images in ((3, 180), (5, 250), (100, 250)):
        result = result_of(small(batch=60, updates=updates))
        network = port(fresh_layers(), 1)
        for epoch in range(2):
            first = order.epoch(("phase order", 47, 0, epoch), 250)[:images]
            network.epoch([columns[i] for i in first], 60, 3.0)
        assert difference(network, layers_of(result), 1) < 1e-12


def test_outputs_that_are_equal_to_the_bit_are_decided_as_in_the_source(tests):
    """The first of the largest counts, as in ``numpy.argmax``: pre-activations that still differ do not."""
    z = np.array([np.arange(-2000, -1000, 100), np.zeros(10), np.arange(10)])
    z[1, [3, 8]] = 50, 90
    before = networks(np.zeros((3, 785, 6)), np.zeros((3, 7, 10)))
    before["layer1"][:, -1] = z
    ported = [port(layers_of(before), m) for m in range(3)]
    outputs = [network.feedforward(tests[0][0])[:, 0] for network in ported]
    assert (outputs[0] == 0).all() and outputs[1][3] == outputs[1][8] == 1
    result = result_of(small(after=small(), epochs=0), before=before)
    assert result["recall"][:, 0].argmax(axis=1).tolist() == [0, 3, 9]
    assert right(result)[:, 0].tolist() == [n.evaluate(*tests) for n in ported]


def test_a_look_is_what_nielsens_network_shows(columns, tests, monkeypatch):
    monkeypatch.setattr(phases, "PROBED", 100)
    result = result_of(small(epochs=1, looks=(0,)))
    network = port(layers_of(result), 2)
    hidden = np.hstack([nielsen.sigmoid(network.weights[0] @ x + network.biases[0]) for x in tests[0]])
    output = np.hstack([network.feedforward(x) for x in tests[0]])
    for name, a in (("hidden", hidden), ("output", output)):
        np.testing.assert_allclose(result[f"{name}_sd"][2, -1], a.std(axis=1), rtol=1e-9, atol=1e-15)
        slope = (4 * a * (1 - a)).mean(axis=1)
        np.testing.assert_allclose(result[f"{name}_slope"][2, -1], slope, rtol=1e-9, atol=1e-15)
    hits = output.argmax(axis=0) == tests[1]
    assert right(result)[2, -1] == hits.sum()
    assert result["recall"][2, -1].tolist() == [hits[tests[1] == c].mean() for c in range(10)]
    total = [network.backprop(x, y) for x, y in columns[:100]]
    for k in range(2):
        w, b = sum(t[0][k] for t in total) / 100, sum(t[1][k] for t in total) / 100
        wanted = np.sqrt((w**2).sum() + (b**2).sum())
        np.testing.assert_allclose(result["gradient"][2, -1, k], wanted, rtol=1e-10)
        wanted = np.sqrt((network.weights[k] ** 2).sum() + (network.biases[k] ** 2).sum())
        np.testing.assert_allclose(result["norm"][2, -1, k], wanted, rtol=1e-12)


# Phases


def test_a_phase_starts_with_standard_normal_networks_of_its_seeds():
    assert same(layers_of(result_of(small(epochs=0))), fresh_layers())


def test_the_networks_are_in_the_result_where_they_are_kept():
    result, without = (result_of(small(looks=(0, 2), keep=keep)) for keep in (True, False))
    assert same({k: result[k] for k in without}, without)
    assert result.keys() - without.keys() == {"layer0", "layer1"}
    assert result["finite"].shape == (3, 2) and result["finite"].dtype == bool and result["finite"].all()


@pytest.mark.parametrize(
    "epochs, looks, wanted",
    [(3, (0, 2, 5, 30), [0, 2, 3]), (3, (0, 3), [0, 3]), (3, (7,), [3]), (0, (0, 1), [0])],
)
def test_looks_end_with_the_last_epoch(epochs, looks, wanted):
    phase = small(epochs=epochs, looks=looks)
    assert phase.config()["looks"] == wanted
    assert result_of(phase)["accuracy"].shape == (3, len(wanted))


def test_looking_does_not_change_what_is_looked_at():
    """Nor what the optimiser keeps: momentum goes on after a look."""
    often = small(epochs=3, batch=60, optimiser="momentum", rate=0.3, looks=(0, 1, 2, 3))
    often, once = (result_of(phase) for phase in (often, replace(often, looks=(2,))))
    assert np.array_equal(often["accuracy"][:, 2:], once["accuracy"])
    assert same(layers_of(often), layers_of(once))


def test_the_next_phase_starts_without_the_memory_of_the_optimiser():
    """A step of momentum in each of two phases is two plain ones."""
    one = {"epochs": 1, "batch": 250, "optimiser": "momentum"}
    apart = layers_of(result_of(small(**one, after=small(**one))))
    for a, b in zip(apart, layers_of(result_of(small(batch=250))), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("optimiser", ["normalised", "adam"])
def test_the_rest_of_an_epoch_takes_a_step_as_long_as_the_others(optimiser):
    """Two batches of 125, and one of 240 with one of 10: the rate sets how far both go."""
    lengths = []
    for phase in (small(batch=125, epochs=1), small(batch=240, epochs=1)):
        result = layers_of(result_of(replace(phase, optimiser=optimiser, rate=1e-3)))
        moved = [w - w0 for w, w0 in zip(result, fresh_layers(), strict=True)]
        lengths.append([np.sqrt((m**2).sum(axis=(1, 2))) for m in moved])
    np.testing.assert_allclose(*lengths, rtol=0.25)


def test_momentum_is_that_of_the_mean_gradient_whatever_is_left_of_an_epoch():
    """Against plain steps of one network: batches of 200 and 50, twice."""
    start, rate, velocity = [w[:1] for w in fresh_layers()], 0.5, 0.0
    x, y = data.split_nielsen(data.load()).train
    inputs, targets = train.Inputs(data.scale(x[:250], 256, np.float64)), np.eye(10)[y[:250]]
    for epoch in range(2):
        shown = order.epoch(("phase order", SEEDS[0], 0, epoch), 250)
        for batch in (shown[:200], shown[200:]):
            part, target = train.Inputs(inputs.x.numpy()[batch]), targets[batch]
            slope = train.gradient(start, part, target, **QUADRATIC)
            velocity = [0.9 * v + g for v, g in zip(velocity or [0, 0], slope, strict=True)]
            start = [w - rate * v for w, v in zip(start, velocity, strict=True)]
    result = layers_of(result_of(small(batch=200, optimiser="momentum", rate=rate)))
    for w, wanted in zip(result, start, strict=True):
        np.testing.assert_allclose(w[:1], wanted, atol=1e-10)


def test_a_phase_without_epochs_only_looks(trained):
    result = result_of(small(after=small(), epochs=0), before=trained)
    last = {k: v if k in ("layer0", "layer1") else v[:, -1:] for k, v in trained.items()}
    assert same(last, result)


def test_a_batch_larger_than_the_images_is_all_of_them():
    assert same(result_of(small(batch=5000, rate=30.0)), result_of(small(batch=250, rate=30.0)))


def test_phases_that_follow_the_same_one_see_the_same_orders(monkeypatch):
    """Each network its own; a phase further on sees others."""
    asked, epoch = [], order.epoch
    monkeypatch.setattr(order, "epoch", lambda *a: asked.append(a) or epoch(*a))
    first = small(epochs=1)
    a = small(after=first, rate=1.0, batch=60)
    before = result_of(first)
    result_of(a, before=before)
    result_of(small(after=first, rate=30.0, batch=250, change=("shuffle",), optimiser="adam"), before=before)
    result_of(small(after=a), before=before)
    numbers = [(0, 0), *((depth, e) for depth in (1, 1, 2) for e in (0, 1))]
    assert asked == [(("phase order", seed, *n), 250) for n in numbers for seed in SEEDS]


def test_a_member_is_the_same_in_any_company(monkeypatch):
    """Alone, with some, two at once, and with all, to rounding: draws and orders are the same."""
    phase = small(
        after=small(epochs=1), epochs=1, batch=60, rate=0.5, optimiser="momentum",
        change=("shrink and perturb", 0.9, 0.1),
    )  # fmt: skip
    whole = result_of(phase, range(40, 64))
    monkeypatch.setattr(phases, "AT_ONCE", 150)
    for some in ([47], [40, 47, 63]):
        part = result_of(phase, some)
        rows = [seed - 40 for seed in some]
        for name in whole:
            np.testing.assert_allclose(whole[name][rows], part[name], rtol=1e-8, atol=1e-10, err_msg=name)


def test_both_precisions_start_from_the_same_networks():
    double, single = (result_of(small(epochs=0, precision=p)) for p in phases.PRECISIONS)
    for a, b in zip(layers_of(double), layers_of(single), strict=True):
        assert (a.dtype, b.dtype) == (np.float64, np.float32)
        assert np.array_equal(a.astype(np.float32), b)
        assert not np.array_equal(a, b)
    np.testing.assert_allclose(single["hidden_sd"], double["hidden_sd"], rtol=1e-4)
    # after training as well, before rounding has grown
    double, single = (result_of(small(epochs=1, rate=0.3, precision=p)) for p in phases.PRECISIONS)
    for a, b in zip(layers_of(double), layers_of(single), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


def test_decay_is_nielsens_regularisation():
    """His w -> (1 - eta lambda / n) w in each update, here on pixels that are white in every image.

    With batches of 60 and one of 10 the rates differ, and lambda is the same.
    """
    white = np.flatnonzero(~data.split_nielsen(data.load()).train[0][:250].any(axis=0))
    assert len(white) > 50
    fresh = fresh_layers()[0]
    result = result_of(small(batch=60, decay=2.0))["layer0"]
    factor = (1 - 3.0 * 2.0 / 250) ** 10
    np.testing.assert_allclose(result[:, white], factor * fresh[:, white], rtol=1e-12)
    assert np.array_equal(result_of(small(batch=60))["layer0"][:, white], fresh[:, white])


def test_biases_decay_where_it_is_said():
    one = {"epochs": 1, "batch": 250}
    plain = layers_of(result_of(small(**one)))
    for biases in (False, True):
        result = layers_of(result_of(small(**one, decay=2.0, decay_biases=biases)))
        for w, a, b in zip(fresh_layers(), plain, result, strict=True):
            shrunk = -3.0 * 2.0 / 250 * w
            shrunk[:, -1] *= biases
            np.testing.assert_allclose(b - a, shrunk, rtol=1e-9, atol=1e-14)


def test_the_binary_cross_entropy_does_not_wait_for_the_slope():
    """One update of the output layer of networks that are stuck: a - y instead of (a - y) a (1 - a)."""
    stuck = networks(np.zeros((3, 785, 6)), np.zeros((3, 7, 10)))
    stuck["layer1"][:, -1] = -20
    one = {"after": small(), "epochs": 1, "batch": 250, "rate": 1.0}
    share = np.bincount(data.load().y_train[:250], minlength=10) / 250
    a = nielsen.sigmoid(np.array(-20.0))
    for loss, factor in (("binary cross-entropy", 1), ("quadratic", a * (1 - a))):
        result = result_of(small(**one, loss=loss), before=stuck)["layer1"]
        step = np.tile((share - a) * factor, (3, 1))
        np.testing.assert_allclose(result[:, -1] + 20, step, rtol=1e-6, atol=1e-14)


def test_the_configuration_is_plain_data_and_gives_the_phase_back():
    phase = small(after=small(rate=2.0), change=("shrink", 0.5), updates=3)
    again = json.loads(json.dumps(phase.config(), allow_nan=False))
    assert Phase.of(again) == phase and Phase.of(again).config() == again
    assert again["after"]["rate"] == 2.0


# Phases that are refused


CHANGED = r"^argument of change 'shrink' must be a number from .*, got "
BAD = [  # of fields with these names every one of these values, with this message
    ("epochs", (-1, 10**6 + 1, 2.0), "must be a whole number from 0 to 1000000, got "),
    ("batch", (0, 50_001), "must be a whole number from 1 to 50000, got "),
    ("images", (0, 50_001), "must be a whole number from 1 to 50000, got "),
    ("hidden", (0, 10_001), "must be a whole number from 1 to 10000, got "),
    ("updates", (0, 1.5), "must be a whole number from 1 to 1000000000, got "),
    ("rate decay", (-0.1, np.inf, 10**400), r"must be a number from 0 to 1.8e\+308, got "),
    ("rate", (None,), "must be a number"),
    ("loss", ("cross-entropy",), r"must be one of \['binary .*', 'quadratic'\], got 'cross-entropy'"),
    ("optimiser", ("SGD",), r"must be one of \['adagrad', .*'sgd'\], got 'SGD'"),
    ("precision", ("float16",), r"must be one of \['float32', 'float64'\], got 'float16'"),
    ("looks", ((-1, 2), (0, 0, 1), 5), "must be rising whole numbers from 0 to 1000000, got "),
    ("keep decay_biases", (1,), "must be True or False, got "),
    ("change", (5, None, "shuffle", ((1, 2),)), "must be a name and its arguments, got "),
    ("change", (("melt",),), r"must be one of \['by inputs', .*\], got 'melt'"),
    ("change", (("shrink",),), r"'shrink' takes 1 numbers, got \[\]"),
    ("change", (("shuffle", 1),), r"'shuffle' takes 0 numbers, got \[1\]"),
    ("change", (("shrink and perturb", 1),), "'shrink and perturb' takes 2 numbers"),
    ("change", (("recycle",),), "'recycle' takes 1 numbers"),
    ("change", (("redraw", 2),), "'redraw' takes the number of a layer, 0 or 1, got 2"),
    ("change", (("redraw", -1),), "'redraw' takes the number of a layer, 0 or 1, got -1"),
    ("after", (small(keep=False),), "must be a Phase that keeps its networks, got "),
    ("after", (small().config(),), "must be a Phase that keeps its networks"),
]  # fmt: skip
REFUSED = [
    *(({n: v}, f"^{n} {message}") for names, vs, message in BAD for n in names.split() for v in vs),
    ({"change": ("shrink", np.inf)}, f"{CHANGED}inf"),
    ({"change": ("shrink", "half")}, f"{CHANGED}'half'"),
    ({"change": ("shuffle",), "after": None}, "^change 'shuffle' needs networks to change: after is None"),
    ({"after": small(hidden=7)}, "^hidden is 6, but 7 in the one before"),
    ({"after": small(images=251)}, "^images is 250, but 251 in the one before"),
]


@pytest.mark.parametrize("change, message", REFUSED, ids=lambda v: str(v)[:40])
def test_a_phase_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        small(**{"after": small()} | change)


def test_phases_at_the_ends_of_what_is_allowed():
    for change in ({"epochs": 0}, {"batch": 1}, {"batch": 50_000}, {"images": 1}, {"hidden": 10_000}):
        assert small(**change).config()
    ends = {"rate": 0, "decay": 0, "updates": 1, "looks": (0,), "change": ("redraw", 1)}
    assert small(after=small(), **ends).config()["change"] == ["redraw", 1]


# Changes. What they get is trained, so that no layer looks like a fresh one.


@pytest.fixture(scope="module")
def trained():
    return result_of(small())


def changed(trained, *change, seeds=SEEDS, **more):
    """Layers before and after a change, nothing else."""
    phase = small(after=small(), epochs=0, change=change, **more)
    return layers_of(trained), layers_of(result_of(phase, seeds, trained))


def parts(layers):
    """Weights and biases of each layer, apart: four arrays (M, ...)."""
    return [part for w in layers for part in (w[:, :-1], w[:, -1:])]


def copies(layers):
    """Layers that may be changed."""
    return {k: np.array(layers[k]) for k in ("layer0", "layer1")}


@pytest.mark.parametrize("number", [0, 1])
def test_redraw_takes_one_layer_from_the_standard_normal(number, trained):
    before, after = changed(trained, "redraw", number)
    assert np.array_equal(after[1 - number], before[1 - number])
    assert np.array_equal(after[number], fresh_layers("change", 1)[number])
    assert not np.isin(after[number], fresh_layers()[number]).any(), "not what they started with"
    n = after[number].size
    assert abs(after[number].mean()) < 5 / np.sqrt(n)
    assert after[number].std() == pytest.approx(1, abs=5 / np.sqrt(2 * n))


def test_each_phase_of_a_chain_draws_anew(trained):
    once = small(after=small(), epochs=0, change=("redraw", 0))
    twice = small(after=once, epochs=0, change=("redraw", 0))
    first = result_of(once, before=trained)
    assert not np.isin(result_of(twice, before=first)["layer0"], first["layer0"]).any()


@pytest.mark.parametrize("factor", [0, -2.5])
def test_shrink_multiplies_all_parameters_exactly(factor, trained):
    before, after = changed(trained, "shrink", factor)
    assert same(after, [factor * w for w in before])


def test_shrink_and_perturb_adds_normal_noise_of_its_standard_deviation(trained):
    for factor, sd in ((0.5, 0.1), (1, 2.0), (0, 1)):
        before, after = changed(trained, "shrink and perturb", factor, sd)
        for a, b, fresh in zip(before, after, fresh_layers("change", 1), strict=True):
            noise = (b - factor * a) / sd
            assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
            assert noise.std() == pytest.approx(1, abs=5 / np.sqrt(2 * noise.size))
            np.testing.assert_allclose(noise, fresh, atol=1e-12)
    assert same(changed(trained, "shrink and perturb", 0.5, 0)[1], changed(trained, "shrink", 0.5)[1])


def test_shuffle_changes_places_within_the_weights_and_within_the_biases(trained):
    before, after = changed(trained, "shuffle")
    for a, b in zip(parts(before), parts(after), strict=True):
        a, b = (part.reshape(3, -1) for part in (a, b))
        assert np.array_equal(np.sort(a), np.sort(b)), "of each member"
        assert (a != b).mean() > 0.6
    # each member by an order of its own: three copies of one network come out different
    _, after = changed({k: np.repeat(v[:1], 3, axis=0) for k, v in trained.items()}, "shuffle")
    assert all(len({member.tobytes() for member in part}) == 3 for part in parts(after))


def test_shuffle_moves_any_weight_anywhere(trained):
    """Not along rows or columns alone: a weight's row or column tells nothing about where it goes."""
    numbers = networks(np.zeros((3, 785, 6)), np.zeros((3, 7, 10)))
    numbers["layer0"][:, :-1] = np.arange(784 * 6).reshape(784, 6)
    _, (after, _) = changed(numbers, "shuffle")
    rows, columns = np.divmod(after[:, :-1], 6)
    limit = 5 / np.sqrt(784 * 6)
    for m in range(3):
        assert abs(np.corrcoef(rows[m].ravel(), np.arange(784).repeat(6))[0, 1]) < limit
        assert abs(np.corrcoef(columns[m].ravel(), np.tile(np.arange(6), 784))[0, 1]) < limit


def test_by_inputs_makes_the_weights_small_and_leaves_the_biases(trained):
    """As the source does in its chapter 3: N(0, 1 / n) for a unit with n inputs, from N(0, 1)."""
    for a, b, n in zip(*changed(trained, "by inputs"), (784, 6), strict=True):
        np.testing.assert_allclose(b[:, :-1] * np.sqrt(n), a[:, :-1], rtol=1e-12)
        assert np.array_equal(b[:, -1], a[:, -1])


def test_match_norms_gives_fresh_directions_the_norms_of_weights_and_biases(trained):
    before, after = changed(trained, "match norms")
    for a, b, fresh in zip(parts(before), parts(after), parts(fresh_layers("change", 1)), strict=True):
        a, b, fresh = (part.reshape(3, -1) for part in (a, b, fresh))
        norms = [np.linalg.norm(part, axis=1) for part in (a, b, fresh)]
        np.testing.assert_allclose(norms[1], norms[0], rtol=1e-12)
        assert (np.abs(norms[2] / norms[0] - 1) > 1e-6).all()
        np.testing.assert_allclose(b / norms[1][:, None], fresh / norms[2][:, None], rtol=1e-10, atol=1e-14)
    for k, limit in ((0, 5 / np.sqrt(784 * 6)), (1, 5 / np.sqrt(60))):
        a, b = (layers[k][:, :-1].reshape(3, -1) for layers in (before, after))
        cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert (np.abs(cosine) < limit).all()


@pytest.fixture(scope="module")
def with_dead(trained):
    """Units that are stuck at 0, at 1 and in between, different ones in each member."""
    layers = copies(trained)
    hidden, output = np.zeros((3, 6), bool), np.zeros((3, 10), bool)
    for m, k, unit, bias in ((0, 0, 1, 60), (0, 0, 4, -60), (1, 0, 0, 0), (0, 1, 7, -60), (2, 1, 3, 60)):
        layers[f"layer{k}"][m, :-1, unit], layers[f"layer{k}"][m, -1, unit] = 0, bias
        (hidden, output)[k][m, unit] = True
    return layers, hidden, output


def test_recycle_gives_dead_units_new_weights_in_and_none_out(with_dead):
    dead, hidden, output = with_dead
    before, after = changed(dead, "recycle", 1e-3)
    sd = [result_of(small(after=small(), epochs=0), before=dead)[f"{n}_sd"] for n in ("hidden", "output")]
    assert np.array_equal(sd[0][:, 0] < 1e-3, hidden) and np.array_equal(sd[1][:, 0] < 1e-3, output)
    fresh = fresh_layers("change", 1)
    for m in range(3):
        assert np.array_equal(after[0][m][:, ~hidden[m]], before[0][m][:, ~hidden[m]]), "live: untouched"
        assert np.array_equal(after[0][m][:, hidden[m]], fresh[0][m][:, hidden[m]])
        live = after[1][m][:, ~output[m]]
        assert (live[:-1][hidden[m]] == 0).all()
        rest = np.append(~hidden[m], True)
        assert np.array_equal(live[rest], before[1][m][:, ~output[m]][rest])
        assert np.array_equal(after[1][m][:, output[m]], fresh[1][m][:, output[m]])
    assert hidden.sum() == 3 and output.sum() == 2


def test_recycle_takes_those_below_its_threshold(trained):
    """Between any two deviations, in both layers; at the lowest nobody, above all everybody."""
    look = result_of(small(after=small(), epochs=0), before=trained)
    sd = [look["hidden_sd"][:, 0], look["output_sd"][:, 0]]
    values = np.sort(np.concatenate([s.ravel() for s in sd]))
    for least in (values[5:6].mean(), values[[20, 21]].mean(), values[[40, 41]].mean()):
        before, after = changed(trained, "recycle", float(least) - 1e-9)
        for k in range(2):
            moved = after[k][:, -1] != before[k][:, -1]  # the bias of every unit
            assert np.array_equal(moved, sd[k] < least - 1e-9)
    assert same(*changed(trained, "recycle", 0))
    assert same(changed(trained, "recycle", 0.51)[1], fresh_layers("change", 1))


CHANGES = [
    ("redraw", 0), ("redraw", 1), ("shrink", 0.5), ("shrink and perturb", 0.5, 0.1), ("match norms",),
    ("shuffle",), ("by inputs",), ("recycle", 0.1),
]  # fmt: skip


def test_every_change_is_tried():
    assert {change[0] for change in CHANGES} == set(phases.CHANGES)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_change_depends_on_the_seed_alone(change, trained):
    before, after = changed(trained, *change)
    assert not same(before, after)
    assert same(changed(trained, *change)[1], after), "twice the same"
    _, again = changed({k: v[[2, 0, 1]] for k, v in trained.items()}, *change, seeds=[48, 46, 47])
    assert same([w[[2, 0, 1]] for w in after], again), "in other places"
    _, other = changed(trained, *change, seeds=[49, 47, 50])
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(after, other, strict=True)), "in other company"
    drawn = change[0] not in ("shrink", "by inputs")
    assert same([w[[0, 2]] for w in after], [w[[0, 2]] for w in other]) == (not drawn)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_change_in_float32_is_that_in_float64_rounded(change, trained):
    rounded = {k: w.astype(np.float32) for k, w in copies(trained).items()}
    _, single = changed(rounded, *change, precision="float32")
    _, double = changed(rounded, *change)
    assert same(single, [w.astype(np.float32) for w in double])
    assert all(w.dtype == np.float32 for w in single)


# Networks that are lost


@pytest.mark.parametrize("change", [(), *CHANGES], ids=str)
def test_a_network_that_is_lost_touches_no_other(change, trained):
    """It is counted as wrong in everything, nothing raises, and the other is the same to the bit."""
    ill = copies(trained)
    for w in ill.values():
        w[1], w[2] = np.resize([np.inf, -np.inf], w[1].shape), np.nan
    phase = small(after=small(), change=change, looks=(0, 2))
    result = result_of(phase, before=ill)
    assert same(result, result_of(phase, before=trained), [0])
    assert result["finite"][0].all() and not result["finite"][1:].any()
    assert (result["accuracy"][0] > 0).all() and (result["accuracy"][1:] == 0).all()
    assert (result["recall"][1:] == 0).all()


@pytest.mark.parametrize("size, more", [
    (1e300, {"change": ("shrink", 1e300)}), (1e300, {"change": ("match norms",)}),
    (np.inf, {"change": ("shrink", 0)}), (1e300, {"precision": "float32"}),
    (1e300, {"precision": "float32", "change": ("shuffle",)}),
], ids=str)  # fmt: skip
def test_a_network_that_a_change_or_the_precision_overflows_touches_no_other(size, more, trained):
    huge = copies(trained)
    for w in huge.values():
        w[1] = np.copysign(size, w[1])
    phase = small(after=small(), epochs=0, **more)
    result = result_of(phase, before=huge)
    assert not result["finite"][1, 0] and result["accuracy"][1, 0] == 0
    assert same(result, result_of(phase, before=trained), [0, 2])


@pytest.mark.parametrize("change", [  # 1e300 itself is beyond float32
    {"rate": 3e38, "precision": "float32"}, {"rate": 1.7e308}, {"rate": 1e300, "decay": 1e300},
    {"decay": 1e6, "precision": "float32"}, {"decay": 1e300, "precision": "float32", "optimiser": "adagrad"},
], ids=str)  # fmt: skip
def test_overflow_in_training_is_an_outcome(change):
    result = result_of(small(loss="binary cross-entropy", **change))
    assert result["finite"].tolist() == [[True, False, False]] * 3
    assert (result["accuracy"][:, 0] > 0).all() and (result["accuracy"][:, 1:] == 0).all()
    assert (result["recall"][:, 1:] == 0).all()
    assert not np.isfinite(result["norm"][:, 1:]).any()


@pytest.mark.parametrize("optimiser", sorted(train.OPTIMISERS))
def test_a_rate_out_of_all_bounds_raises_nothing(optimiser):
    """In float32 the rate itself overflows."""
    result = result_of(small(epochs=1, looks=(0,), rate=1e300, precision="float32", optimiser=optimiser))
    assert not result["finite"][:, -1].any() and (result["accuracy"][:, -1] == 0).all()


def test_one_network_that_overflows_in_training_touches_no_other(trained):
    """So much decay that every update multiplies the weights by -15: it needs two to get beyond 1e308."""
    huge = copies(trained)
    huge["layer0"][1] *= 1e306
    phase = small(after=small(), decay=16 * 250 / 3, batch=250)
    result, calm = (result_of(phase, before=before) for before in (huge, trained))
    assert result["finite"][1].tolist() == [True, True, False]
    assert result["accuracy"][1, -1] == 0
    assert same(result, calm, [0, 2])
    assert calm["finite"].all()
