"""Recipes: what they refuse, what they cost, and that a recipe is no more than the engine called by hand."""

import json

import numpy as np
import pytest
from alike import arrays, same
from scipy.special import logsumexp

from lib import data, nets, streams, train
from lib.questions import staged
from lib.questions.staged import Stage

SIZES = [784, 6, 5, 4, 10]
SEEDS = [11, 3, 2**31 - 1]
ONE = ((3, 0.01),)


def recipe(*stages, **change):
    arguments = {"images": (100, 40), "sizes": SIZES, "sd": 0.1, "bias": 0.1, "batch": 10} | change
    return staged.recipe(stages or (Stage(1, ONE),), **arguments)


GREEDY = (Stage(1, ONE), Stage(2, ((2, 0.02), (3, 0.01)), learns=(1, 2)), Stage(3, ONE))


@pytest.fixture(scope="session")
def mnist():
    return data.load()


def plain(layers, member, x):
    """Activations of the hidden layers of a member, and its outputs before any function."""
    hidden = [x]
    for layer in layers:
        z = hidden[-1] @ layer[member, :-1] + layer[member, -1]
        hidden.append(np.tanh(z))
    return hidden[1:-1], z


# Recipes


ENDS, SIZED = "sizes must begin with 784 and end with 10", "sizes must be at least two positive integers"
RECIPES = [  # every one of these values, with this message
    ("sizes", ([783, 5, 10], [784, 5, 9]), ENDS), ("sizes", ([784, 0, 10], [784, 5.5, 10], []), SIZED),
    ("sd", (0, -0.1, np.nan, np.inf, "0.1"), "sd must be"), ("bias", (np.nan, -np.inf, "x"), "bias must be"),
    ("divisor", (254,), "divisor must be 255 or 256"), ("ridge", (0, -1.0, np.nan, "x"), "ridge must be"),
    ("batch", (7,), "a batch of 7 does not divide 40"), ("batch", (0,), "at least 1"),
    ("batch", (2.5,), "whole"), ("images", ((0, 0),), "count must be at least 1"),
    ("images", ((-1, 40),), "start must be at least 0"),
    ("images", ((59_970, 40),), r"start \+ count must be at most 60000"),
    ("images", ((0.5, 40),), "start must be an integer"), ("images", ((0,), 40), "images must be a pair"),
    ("judged_on", ((139, 10),), r"judged_on \(139, 10\) shares images"),
    ("judged_on", ((0, 60_000),), "judged_on .* shares images"),
    ("judged_on", ((60_000, 1),), r"start \+ count must be at most 60000"),
    ("judged_on", ((0,),), "judged_on must be a pair"),
]  # fmt: skip


@pytest.mark.parametrize("change, message", [({name: v}, text) for name, vs, text in RECIPES for v in vs])
def test_a_recipe_that_does_not_fit_is_refused(change, message, monkeypatch):
    monkeypatch.setattr(data, "load", lambda: pytest.fail("data were loaded"))
    with pytest.raises(ValueError, match=message):
        recipe(**change)


BINARY = "binary cross-entropy"
STAGES = [
    *((Stage(depth, ONE), f"depth must be a whole number from 1 to 3, got {depth!r}") for depth in (0, 4)),
    *((Stage(1, rates), "rates must hold at least one step") for rates in ((), ((0, 0.1),))),
    *((Stage(1, ((n, 0.1), (2, 0.1))), "steps in rates must be a whole number from 0") for n in (-1, 1.5)),
    *((Stage(1, ((1, v),)), "rate in rates must be a number from 0") for v in (-0.1, np.inf)),
    *((Stage(1, rates), "rates must be pairs") for rates in (((1,),), 0.1)),
    *(
        (Stage(1, ONE, learns=learns), "learns must be one or more whole numbers from 0 to 1, got ")
        for learns in ((), (-1,), 1)
    ),
    (Stage(1, ONE, learns=(2,)), r"learns must be one or more whole numbers from 0 to 1, got \(2,\)"),
    (Stage(1, ONE, fresh=(4,)), r"fresh must be whole numbers from 0 to 3, got \(4,\)"),
    (Stage(1, ONE, loss="hinge"), "loss must be one of .*'hinge'"),
    (Stage(2, ONE, loss=BINARY), f"loss '{BINARY}' is for depth 1, got depth 2"),
    (Stage(1, ONE, optimiser="Adam"), "optimiser .*'Adam'"),
    (Stage(1, ONE, images=(59_970, 40)), r"start \+ count must be at most 60000"),
    (Stage(1, ONE, images=(0, 45)), "a batch of 10 does not divide 45"),
    (Stage(1, ONE, images=()), "images must be a pair"),
]


@pytest.mark.parametrize("stage, message", STAGES)
def test_a_stage_that_does_not_fit_is_refused(stage, message, monkeypatch):
    monkeypatch.setattr(data, "load", lambda: pytest.fail("data were loaded"))
    with pytest.raises(ValueError, match=message) as caught:
        recipe(Stage(1, ONE), stage)
    if "batch" not in message and "start" not in message:
        assert "stage 1" in str(caught.value), "the message says which stage"


def test_numpys_numbers_are_plain_in_a_recipe():
    stage = Stage(np.int64(1), ((np.int32(3), np.float32(0.5)),), learns=[np.int64(0)])
    plan = recipe(stage, sd=np.float64(0.1), ridge=np.float32(0.5), images=(np.int64(100), np.int64(40)))
    assert json.loads(json.dumps(plan)) == json.loads(
        json.dumps(recipe(Stage(1, ((3, 0.5),), learns=(0,)), ridge=0.5))
    )


def test_no_stages_is_refused():
    with pytest.raises(ValueError, match="stages must hold at least one"):
        staged.recipe([], images=(0, 10), sizes=SIZES, sd=0.1, bias=0.1, batch=10)


def test_images_to_judge_on_are_no_images_of_any_stage():
    assert recipe(judged_on=(140, 10))["judged_on"] == [140, 10]
    assert recipe(judged_on=(90, 10))["judged_on"] == [90, 10]
    with pytest.raises(ValueError, match="judged_on .* shares images"):
        recipe(Stage(1, ONE), Stage(2, ONE, images=(500, 40)), judged_on=(539, 10))


def test_a_recipe_is_plain_data_and_comes_back_from_json():
    plan = recipe(*GREEDY, Stage(3, ONE, fresh=(1,), images=(0, 40)), ridge=0.1)
    back = json.loads(json.dumps(plan))
    assert [Stage(**s).depth for s in back["stages"]] == [1, 2, 3, 3]
    assert same(staged.networks(back, SEEDS)[1], staged.networks(plan, SEEDS)[1])


def test_steps():
    assert staged.steps(Stage(1, ((3, 0.1), (0, 1.0), (4, 0.2)))) == 7


# The stages against the engine called by hand


def draw(shapes, purpose="initial", number=0):
    return nets.truncated_normal(SEEDS, shapes, 0.1, 0.1, streams.weights(purpose, number))


def by_hand(mnist, layers, rates, loss, first=100, count=40, divisor=255, y=None, **settings):
    x = mnist.x_train[first : first + count].astype(np.float32) / np.float32(divisor)
    if y is None:
        y = np.eye(10)[mnist.y_train[first : first + count]]
    batches = train.cycled(count, 10, len(rates))
    return train.fit(
        layers, train.Inputs(x), y, batches, np.array(rates), hidden="tanh", loss=loss, **settings
    )


def test_greedy_stages_are_the_engine_called_by_hand(mnist):
    shapes = nets.shapes(SIZES)
    a, b, c, out = draw(shapes)
    (head,) = draw([(7, 10)], "head", 0)
    a, _ = by_hand(mnist, (a, head), [0.01] * 3, "cross-entropy")
    (head,) = draw([(6, 10)], "head", 1)
    trained = [False, True, True]
    _, b, _ = by_hand(mnist, (a, b, head), [0.02] * 2 + [0.01] * 3, "cross-entropy", trained=trained)
    wanted = by_hand(mnist, (a, b, c, out), [0.01] * 3, "cross-entropy")
    start, layers = staged.networks(recipe(*GREEDY), SEEDS)
    assert same(start, draw(shapes))
    assert same(layers, wanted)


def test_settings_of_recipe_and_stage_reach_the_engine(mnist):
    (a, b), (head,) = draw(nets.shapes([784, 6, 10])), draw([(7, 784)], "head", 0)
    x = mnist.x_train[:20].astype(np.float32) / np.float32(256)
    a, _ = by_hand(mnist, (a, head), [0.01] * 3, "binary cross-entropy", 0, 20, 256, y=x, optimiser="adam")
    wanted = by_hand(mnist, (a, b), [0.5], "cross-entropy", divisor=256, optimiser="adagrad")
    stages = (
        Stage(1, ONE, loss="binary cross-entropy", optimiser="adam", images=(0, 20)),
        Stage(1, ((1, 0.5),), optimiser="adagrad"),
    )
    assert same(staged.networks(recipe(*stages, sizes=[784, 6, 10], divisor=256), SEEDS)[1], wanted)


def test_autoencoders_reproduce_what_their_layer_receives(mnist, monkeypatch):
    calls = []
    fit = train.fit

    def spy(layers, inputs, targets, batches, rates, **settings):
        calls.append((arrays(layers), np.asarray(targets), settings["loss"]))
        return fit(layers, inputs, targets, batches, rates, **settings)

    monkeypatch.setattr(train, "fit", spy)
    losses = ["binary cross-entropy", "squared error", "squared error"]
    stages = [Stage(k, ONE, learns=(k - 1, k), loss=loss) for k, loss in enumerate(losses, start=1)]
    staged.networks(recipe(*stages), SEEDS)
    x = mnist.x_train[100:140].astype(np.float32) / np.float32(255)
    assert [loss for *_, loss in calls] == losses
    assert [layers[-1].shape for layers, *_ in calls] == [(3, 7, 784), (3, 6, 6), (3, 5, 5)]
    assert np.array_equal(calls[0][1], x)
    for layers, targets, _ in calls[1:]:
        for member in range(3):
            received = plain(layers[:-1], member, x)[0][-1]  # by the layer that learns
            np.testing.assert_allclose(targets[member], received, atol=1e-5)


def kept(plan):
    """Of each layer whether it is as it was at the start."""
    return [np.array_equal(a, b) for a, b in zip(*staged.networks(plan, SEEDS), strict=True)]


def test_layers_that_do_not_learn_keep_their_bits():
    assert kept(recipe(Stage(3, ONE, learns=(1, 3)))) == [True, False, True, False]
    assert kept(recipe(Stage(2, ONE))) == [False, False, True, True]
    head = kept(recipe(Stage(3, ONE, loss="squared error")))[3]
    assert head, "the head of an autoencoder is not the output layer"


def test_fresh_draws_only_the_layers_named():
    still = ((1, 0.0),)
    start, layers = staged.networks(recipe(Stage(3, still, fresh=(0, 2))), SEEDS)
    changed = [not np.array_equal(a, b) for a, b in zip(start, layers, strict=True)]
    assert changed == [True, False, True, False]
    for k in (0, 2):
        assert np.isclose(start[k][:, :-1], layers[k][:, :-1]).mean() < 0.01
        assert np.array_equal(start[k][:, -1], layers[k][:, -1])
    _, twice = staged.networks(recipe(Stage(3, still, fresh=(0, 2)), Stage(3, still, fresh=(2, 3))), SEEDS)
    changed = [not np.array_equal(a, b) for a, b in zip(layers, twice, strict=True)]
    assert changed == [False, False, True, True]
    assert same(staged.networks(recipe(Stage(3, still)), SEEDS)[1], start)


def test_stages_do_not_change_the_initial_layers():
    plans = [recipe(*GREEDY), recipe(GREEDY[2]), recipe(Stage(1, ONE, loss="squared error"), *GREEDY)]
    starts = [staged.networks(plan, SEEDS)[0] for plan in plans]
    assert same(starts[0], starts[1]) and same(starts[0], starts[2])
    # nor do later stages change what earlier ones did
    first = staged.networks(recipe(GREEDY[0]), SEEDS)[1]
    more = staged.networks(recipe(GREEDY[0], Stage(2, ONE, learns=(1, 2))), SEEDS)[1]
    assert np.array_equal(first[0], more[0])


# The job


@pytest.fixture(scope="module")
def measured():
    plan = recipe(*GREEDY, ridge=0.1)
    return plan, staged.job(plan, SEEDS)


def test_shapes_of_what_is_measured(measured):
    shapes = {name: value.shape for name, value in measured[1].items()}
    assert shapes == {
        "correct": (3, 1250), "loss": (3,), "fitted": (3,), "norm": (3, 4), "moved": (3, 4), "slope": (3, 3),
        "dimension": (3, 3), "probe": (3, 3),
    }  # fmt: skip
    assert "probe" not in staged.job(recipe(GREEDY[0]), SEEDS)


def test_what_is_measured_against_numpy(measured, mnist):
    plan, result = measured
    start, layers = (arrays(group) for group in staged.networks(plan, SEEDS))
    x, y = mnist.x_train[100:140] / 255, mnist.y_train[100:140]
    right = staged.unpack(result["correct"])
    assert right.shape == (3, 10_000) and right.dtype == bool
    for m in range(3):
        hidden, z = plain(layers, m, x)
        loss = logsumexp(z, axis=1) - z[np.arange(40), y]
        assert result["loss"][m] == pytest.approx(loss.mean(), rel=1e-4)
        assert result["fitted"][m] == pytest.approx((z.argmax(axis=1) == y).mean())
        scores = plain(layers, m, mnist.x_test / 255)[1]
        wanted = scores.argmax(axis=1) == mnist.y_test
        gap = np.sort(scores, axis=1)
        clear = gap[:, -1] - gap[:, -2] > 1e-4
        assert clear.mean() > 0.9
        assert np.array_equal(right[m][clear], wanted[clear])
        for k in range(3):
            assert result["slope"][m, k] == pytest.approx((1 - hidden[k] ** 2).mean(), rel=1e-4)
            v = np.linalg.eigvalsh(np.cov(hidden[k].T))
            assert result["dimension"][m, k] == pytest.approx(v.sum() ** 2 / (v**2).sum(), rel=1e-3)
        for k in range(4):
            assert result["norm"][m, k] == pytest.approx(np.linalg.norm(layers[k][m]), rel=1e-5)
            moved = np.linalg.norm(layers[k][m].astype(float) - start[k][m])
            assert result["moved"][m, k] == pytest.approx(moved, rel=1e-3, abs=1e-6)


def test_networks_are_looked_at_some_at_a_time(measured, monkeypatch):
    """However many images there are, no more than some 50,000 times a member pass at once."""
    plan, whole = measured
    passed, forward = [], nets.forward
    monkeypatch.setattr(
        nets, "forward", lambda w, x, h: passed.append(len(w[0]) * len(x)) or forward(w, x, h)
    )
    monkeypatch.setattr(staged, "LOOKED", 80)
    monkeypatch.setattr(staged, "BLOCK", 20)
    result = staged.job(plan, SEEDS)
    assert max(passed) == 80
    for name in whole:
        np.testing.assert_allclose(result[name], whole[name], rtol=1e-5, err_msg=name)


def test_judged_on_other_images_of_the_training_file(mnist):
    plan = recipe(GREEDY[2], judged_on=(200, 30))
    packed = staged.job(plan, SEEDS)["correct"]
    assert packed.shape == (3, 4)
    right = staged.unpack(packed, 30)
    layers = staged.networks(plan, SEEDS)[1]
    z = nets.forward(layers, mnist.x_train[200:230].astype(np.float32) / np.float32(255), "tanh")[-1].numpy()
    assert np.array_equal(right, z.argmax(axis=2) == mnist.y_train[200:230])


def test_a_network_that_is_not_finite_is_wrong_everywhere_and_not_taken_for_a_class(mnist):
    """The largest of scores that are no numbers is the first: a tenth of the images would be right."""
    wild = Stage(3, ((20, 3e38),))
    plan = recipe(wild, ridge=0.1)
    layers = staged.networks(plan, SEEDS)[1]
    assert not any(np.isfinite(layer).all(axis=(1, 2)).any() for layer in arrays(layers))
    result = staged.job(plan, SEEDS)
    assert not result["correct"].any()
    assert result["fitted"].tolist() == [0, 0, 0]
    assert np.isnan(result["loss"]).all()
    assert not result["probe"].any()


def test_a_member_that_is_not_finite_leaves_the_others_as_they_are(mnist):
    layers = staged.networks(recipe(*GREEDY), SEEDS)[1]
    x, y = mnist.x_test[:700].astype(np.float32) / np.float32(255), mnist.y_test[:700]
    clean = staged._judge(layers, [], x, y)
    ill = [np.where([[[False]], [[True]], [[False]]], np.nan, layer).astype(np.float32) for layer in layers]
    right = staged._judge(ill, [], x, y)
    assert clean.shape == right.shape == (1, 3, 700)
    assert clean[0, 1].any() and not right[0, 1].any()
    assert np.array_equal(right[0, [0, 2]], clean[0, [0, 2]])


def test_unpack_is_the_inverse_of_packing():
    right = np.random.default_rng(0).random((3, 10_000)) < 0.5
    assert np.array_equal(staged.unpack(np.packbits(right, axis=1)), right)
    assert np.array_equal(staged.unpack(np.packbits(right[:, :13], axis=1), 13), right[:, :13])


# The same results from any run


def test_a_member_is_the_same_in_any_company():
    """Alone, with some, and with all, to rounding: from the same draws and batches."""
    stages = (Stage(1, ONE, loss="squared error"), Stage(3, ONE, fresh=(1,)))
    whole = staged.networks(recipe(*stages), range(16))
    for some in ([5], [2, 5, 11]):
        for all_of, part in zip(whole, staged.networks(recipe(*stages), some), strict=True):
            for a, b in zip(arrays(all_of), arrays(part), strict=True):
                np.testing.assert_allclose(a[some], b, rtol=1e-5, atol=1e-6)
