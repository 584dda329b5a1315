"""A reader's own network: settings, the job both ways, outcomes, remedies, planted faults, cases."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lib.backend import tf
from lib.own import archive, diagnosis, kerasmodels
from lib.page import text
from lib.questions import cases, faults, own, remedies
from lib.questions.own import Setting

SEEDS = [20, 21]
keras = tf.keras
L = keras.layers


def small(**change):
    tiny = {"images": "digits", "count": 64, "dense": (6,), "epochs": 2, "batch": 8, "looks": 2}
    return Setting(**tiny | change)


def compiled(*steps, optimiser=None):
    model = keras.Sequential([keras.Input((28, 28, 1)), L.Flatten(), *steps, L.Dense(10, "softmax")])
    model.compile(optimiser or keras.optimizers.SGD(0.1, momentum=0.5), "sparse_categorical_crossentropy")
    return kerasmodels.text(model)


def test_the_job_gives_what_it_says_and_a_network_is_the_same_alone():
    setting = small(changes=(1,), rates=(0.05,), dropout=0.3, optimiser="momentum")
    both = own.job(setting.config(), SEEDS)
    alone = own.job(setting.config(), SEEDS[1:])
    assert both["part"].shape == (2, 16) and both["test"].shape == (2, 2)  # of 8 batches an epoch has 8 parts
    assert both["look"].tolist() == [[0, 2]] * 2
    for name, value in both.items():
        tolerance = 0.05 if "sharpness" in name else 1e-3
        np.testing.assert_allclose(alone[name][0], value[1], rtol=tolerance, atol=1e-5, err_msg=name)
    assert np.isfinite(both["sharpness"]).all()
    assert np.isnan(own.job(replace(setting, curved=False).config(), SEEDS)["sharpness"]).all()


def test_both_ways_train_a_model_alike(monkeypatch):
    setting = small(model=compiled(L.Dense(6, "tanh")))
    engine = own.job(setting.config(), SEEDS)
    known = setting.known()

    def unknown(model, optimised=True):
        raise kerasmodels.UnknownError("as if")

    monkeypatch.setattr(kerasmodels, "known", unknown)
    assert setting.known() is None
    loop = own.job(setting.config(), SEEDS)
    for name in set(engine) - {"stride"}:  # which needs the values before the activations
        atol = 0.1 if "sharpness" in name else 1e-3
        np.testing.assert_allclose(loop[name], engine[name], rtol=0.01, atol=atol, err_msg=name)
    assert (own.outcome(loop, None) == own.outcome(engine, known)).all()
    assert (own.diagnose(loop, setting) == own.diagnose(engine, setting)).all()


def test_a_model_with_a_layer_of_its_own_is_trained_by_keras():
    setting = small(model=compiled(L.Dense(6), L.BatchNormalization(), L.ReLU()))
    assert setting.known() is None
    result = own.job(setting.config(), SEEDS)
    assert np.isfinite(result["part"]).all() and np.isfinite(result["sharpness"]).all()
    assert result["lost"].shape[2] == 2 and np.isfinite(result["lost"][..., 0]).all()
    assert set(own.diagnose(result, setting)) <= set(diagnosis.MECHANISMS)
    again = own.job(setting.config(), SEEDS[::-1])
    np.testing.assert_array_equal(again["part"][::-1], result["part"])


def test_a_model_of_one_output_for_two_classes(tmp_path):
    path, rng = tmp_path / "two.npz", np.random.default_rng(0)
    y = np.arange(64) % 2
    x = rng.random((64, 4, 4)) * (0.2 + 0.8 * y[:, None, None])
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    model = keras.Sequential([keras.Input((4, 4, 1)), L.Flatten(), L.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy")
    text = kerasmodels.text(model)
    setting = small(images=str(path), count=None, model=text, epochs=20, curved=False)
    result = own.job(setting.config(), SEEDS[:1])
    assert result["level"][0, 0] == pytest.approx(np.log(2)) and result["test"][0, -1] > 95
    assert own.outcome(result, None) == ["trains"] and own.diagnose(result, setting) == ["healthy"]


def test_a_readers_images(tmp_path):
    path = tmp_path / "mine.npz"
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 5, 6, 3)), np.arange(40) % 4
    np.savez(path, x_train=x, y_train=y, x_test=x[:8], y_test=y[:8])
    setting = small(images=str(path), count=None, pixels="standardised", curved=False)
    config = setting.config()
    assert own.job(config, SEEDS)["predicted"].shape == (2, 2, 4)
    assert own.images(str(path), None, "standardised")[0].std() == pytest.approx(1, abs=1e-3)
    with pytest.raises(kerasmodels.ModelError, match="10 outputs, the images 4 classes"):
        replace(setting, model=compiled()).config()
    before = own.images(str(path), None, "0 to 1")[0]
    np.testing.assert_allclose(before, x, rtol=1e-5)
    np.savez(path, x_train=255 * x, y_train=y, x_test=x[:8], y_test=y[:8])
    np.testing.assert_allclose(own.images(str(path), None, "0 to 1")[0], before, rtol=1e-5)
    np.testing.assert_allclose(own.images(str(path), None, "0 to 255")[0], 255 * x, rtol=1e-5)
    with pytest.raises(ValueError, match="other images than when this run began"):
        own.job(config, SEEDS)
    with pytest.raises(archive.ArchiveError, match="no such file"):
        replace(setting, images="none.npz").config()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": "softmax"}, "hidden must be one of"),
        ({"init": "normal"}, "sd must stand with init 'normal'"),
        ({"changes": (1,)}, "rates must be as many as changes"),
        ({"count": 10**6}, "count must be at most the 1300 training images, or 0 for all, got"),
        ({"batch": 65}, "batch must be at most the 64"),
        ({"batch": 64}, "epochs must be more"),
        ({"output": "tanh"}, "loss 'cross-entropy' takes outputs of"),
        ({"channels": (2, 2, 2, 2)}, "channels must be of at most 3"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        small(**change).config()


def test_rates_over_time():
    rates = small(epochs=4, rate=1.0, changes=(2, 3), rates=(0.5, 0.1), warmup=1).rates_of(4)
    np.testing.assert_allclose(rates, [[0.25, 0.5, 0.75, 1], [1] * 4, [0.5] * 4, [0.1] * 4])


def result(part, lost=0.0, finite=True, accuracy=10.0):
    part = np.atleast_2d(np.asarray(part, float))
    shape = (len(part), 1)
    return {
        "part": part, "level": np.ones(shape), "finite": np.full(shape, finite),
        "lost": np.full((*shape, 2), lost), "accuracy": np.full(shape, accuracy),
        "predicted": np.full((*shape, 10), 0.1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("part", "change", "wanted"),
    [
        ([1.0] * 10 + [0.1] * 10, {}, "trains"),
        ([0.9] * 4 + [0.7, 0.95] * 8, {}, "jumps"),
        ([0.9] * 4 + [0.6, 0.61] * 8, {}, "learns in part"),
        ([0.9, 0.3] + [1.0] * 18, {}, "collapses"),
        ([1.0] * 20, {}, "never starts"),
        ([3.0] * 20, {"accuracy": 40.0}, "learns in part"),
        (np.linspace(0.94, 0.6, 20), {}, "unfinished"),
        ([0.9] * 20, {"lost": 1.0}, "never starts"),
        ([0.9] * 10 + [np.nan] * 10, {"finite": False}, "overflows"),
    ],
)
def test_outcomes(part, change, wanted):
    assert own.outcome(result(part, **change), small().known()) == [wanted]


def test_when_networks_learn_and_collapse():
    found = result([[1.0] * 5 + [0.1] * 5 + [1.0] * 10, [1.0] * 20])
    np.testing.assert_array_equal(own.collapsed(found, 40), [20, np.nan])
    np.testing.assert_array_equal(own.started(found, 40), [12, np.nan])
    np.testing.assert_array_equal(own.fallen({"accuracy": np.array([[10, 90, 80.0], [10, 20, 30]])}), [10, 0])


# --- remedies ---


def test_what_a_diagnosis_names_is_on_the_ladder():
    assert {name for m in diagnosis.MECHANISMS.values() for name in m.remedies} <= set(remedies.LADDER)


def test_the_ladder_changes_one_thing_each():
    setting = small(
        hidden="relu", output="sigmoid", loss="squared error", rate=0.5, pixels="0 to 255", bias=-1.0
    )
    found = remedies.ladder(setting)
    assert set(found) == set(remedies.LADDER)
    assert found["rate / 10"].rate == pytest.approx(0.05) and found["clipping"].clip == 1
    assert found["fitting initialisation"].init == "he" and found["fitting initialisation"].bias == 0
    for other in found.values():
        other.config()
    few = remedies.ladder(small(hidden="tanh"))
    assert not {"LeakyReLU", "inputs 0 to 1", "fitting loss"} & set(few)
    ladder = remedies.ladder(small(model=compiled()))
    assert set(ladder) == set(remedies.LADDER) - {"LeakyReLU", "fitting loss", "inputs 0 to 1"}
    assert ladder["rate x 10"].known().rate == pytest.approx(1) and ladder["clipping"].known().rule.clip == 1


def test_remedies_of_a_keras_model():
    wide = keras.initializers.RandomNormal(stddev=9.0)
    first = L.Dense(6, "relu", kernel_initializer=wide, bias_initializer="ones")
    setting = small(model=compiled(first, L.Dense(6), L.ReLU(), L.Dense(6, "tanh")), epochs=5)
    ladder = remedies.ladder(setting)
    assert [name for name, *_ in ladder["LeakyReLU"].known().net.steps].count("leaky relu") == 2
    assert ladder["decay"].known().rule.decay == pytest.approx(1e-3)
    assert remedies.LADDER["decay"](ladder["decay"]).known().rule.decay == 0
    layers = kerasmodels.weights([kerasmodels.drawn(ladder["fitting initialisation"].model, 0)])
    deviations = [float(tf.math.reduce_std(w[:, :-1])) for w in layers]
    assert deviations[0] == pytest.approx((2 / 784) ** 0.5, rel=0.1) and (layers[0][:, -1].numpy() == 0).all()
    np.testing.assert_allclose(ladder["warm-up"].rates_of(2)[:2], [[0.05, 0.1], [0.1, 0.1]])
    assert ladder["weights x 0.1"].gain == pytest.approx(0.1)
    # Keras trains this one, at its own rate
    other = set(remedies.ladder(small(model=compiled(L.BatchNormalization(), L.Dense(6, "relu")))))
    assert not {"warm-up", "weights x 0.1"} & other
    assert {"LeakyReLU", "fitting initialisation", "decay"} <= other


def test_advice_is_borne_by_the_numbers():
    setting = small(epochs=20)
    good, slow, none = [1.0] * 4 + [0.1] * 16, [1.0] * 15 + [0.1] * 5, [1.0] * 20
    runs = {"now": [none] * 20, "good": [good] * 20, "slow": [slow] * 20, "half": [good] * 8 + [none] * 12}
    found = {name: remedies.worth(result(parts), setting) for name, parts in runs.items()}
    half = found["half"]
    assert half.trained.value == 0.4 and half.epochs == 5
    assert half.price == pytest.approx(5 + 20 * 0.6 / 0.4) and found["now"].price == np.inf
    assert remedies.chosen(found, found["now"]) == "good"  # trains as often as "slow", and sooner
    assert remedies.chosen(found, found["good"]) is None
    said = remedies.advice(found["now"], "good", found["good"])
    assert said == "Take *good*: 100 % of the networks train instead of 0 %, in about 5 epochs."
    few = remedies.worth(result([none] * 2), setting)
    assert remedies.advice(few, "half", half) == "No remedy of the ladder is shown to help."
    assert remedies.advice(found["good"], None, None).startswith("It trains as it is, 100 %")
    assert remedies.advice(half, "half", half).startswith("Start again: 40 %")
    pair = remedies.worth(result([good] * 2), setting)
    assert "leave it" in remedies.advice(pair, None, None), "two are few, but both train"


# --- faults and cases ---


def test_faults_are_drawn_from_their_number():
    many = [faults.planted(number) for number in range(40 * len(faults.KINDS))]
    assert faults.planted(3) == many[3]
    assert {f.network for f in many} == set(faults.SOUND)
    for kind in faults.PLANTED:
        those = [f for f in many if f.kind == kind]
        assert len(those) == (80 if kind == "healthy" else 40)
        assert len({f.network for f in those}) >= 2 and len({f.how for f in those}) >= 4, kind
    # none of them is what the rule's thresholds were chosen on, or a setting that cannot be run
    for setting in {f.network: f.setting for f in many}.values():
        assert setting.config()["epochs"] and setting.known().net.classes == 10


def test_the_rule_is_counted():
    numbers = [faults.KINDS.index("healthy"), faults.KINDS.index("overflow")]
    result = faults.job(faults.config(), numbers)
    assert result["kind"].tolist() == result["found"].tolist() == ["healthy", "overflow"]
    kinds = [faults.HIGH] * 4 + ["healthy"]
    found = ["overflow", "dead units", "healthy", "none of these", "healthy"]
    counts = faults.confusion({"kind": np.array(kinds), "found": np.array(found)})
    assert counts == {"healthy": {"healthy": 1}, faults.HIGH: dict.fromkeys(found[:4], 1)}
    shares = faults.right(counts)
    assert (shares[faults.HIGH].value, shares[faults.HIGH].n) == (pytest.approx(2 / 3), 3)
    assert (shares["overall"].value, shares["overall"].n) == (0.75, 4)


def test_cases_are_whole():
    names = [case.name for case in cases.CASES]
    assert len({*names}) == len(names) >= 6 and cases.chosen(["all"]) == list(cases.CASES)
    assert [case.name for case in cases.chosen(["rate-ten"])] == ["rate-ten"]
    with pytest.raises(ValueError, match="public: no case what; there are all, relu-outputs"):
        cases.chosen(["what"])
    for case in cases.CASES:
        arms = case.arms(500)
        assert all(setting.count == 500 and setting.known() for setting in arms.values())
        assert {a for one in case.claims for a in (one.arm, one.over) if a} <= set(arms), case.name
        assert {*re.findall(r"seen\['(.*?)'\]", case.text)} <= set(arms), case.name
        loose, rest = text.FIELD.sub("", case.text), repr(replace(case, text="", claims=()))
        number = r"\d+(?:\.\d+)?"
        assert {*re.findall(number, loose)} <= {*re.findall(number, rest)}, "a number that is no field"
        assert case.link.startswith("https://") and len({one.id for one in case.claims}) == len(case.claims)


def test_a_claim_about_a_case_is_measured():
    case = cases.chosen(["cost-at-entropy"])[0]
    setting = case.arms(100)[cases.AS_TOLD]
    flat, down = (cases.Seen(result([parts] * 3), setting) for parts in ([1.0] * 20, [1.0] * 4 + [0.1] * 16))
    expected = cases.Expected("a", "", "", "", "", lambda seen: seen.trains, over="other")
    seen = {cases.AS_TOLD: down, "other": flat}
    assert expected.measured(seen).value == 1
    assert expected._replace(over="").measured(seen)[::3] == (1.0, 3)
    assert expected._replace(over="", among=lambda seen: ~seen.trains).measured(seen).interval == (0, 1)
    points = expected._replace(over="", of=lambda seen: 100.0 * seen.trains)
    assert points.measured(seen).value == 100
