"""Public cases: networks that people asked about, as small records for the chapter on one's own network.

A new one is a record in `CASES`: CONTRIBUTING.md says how. As code, so that a change of one runs the chapter
anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lib import stats
from lib.questions import own
from lib.questions.own import Setting

AS_TOLD = "as told"
NONE = stats.Estimate(0.5, 0.0, 1.0, 1, "none to count")  # a share of no networks: it may be anything


class Seen:
    """What became of the networks of a setting: a value for each of M networks."""

    def __init__(self, result: Mapping[str, np.ndarray], setting: Setting) -> None:
        """Takes what `lib.questions.own.job` returned, and the setting it was given."""
        self.result, self.setting = result, setting

    @cached_property
    def becomes(self) -> np.ndarray:
        """Names in `lib.questions.own.OUTCOMES`."""
        return own.outcome(self.result, self.setting.known())

    @cached_property
    def wrong(self) -> np.ndarray:
        """Names in `lib.own.diagnosis.MECHANISMS`."""
        return own.diagnose(self.result, self.setting)

    trains = property(lambda seen: seen.becomes == "trains")
    # accuracies in the end, in %: on training images and on test images
    right = property(lambda seen: seen.result["accuracy"][:, -1])
    test = property(lambda seen: seen.result["test"][:, -1])
    # points by which the accuracy on training images ends below its best look
    fallen = property(lambda seen: own.fallen(seen.result))
    # mean loss of the batches in the last part of the run
    loss = property(lambda seen: seen.result["part"][:, -1])
    # share of the outputs that have no slope for any image, in the end
    lost = property(lambda seen: seen.result["lost"][:, -1, -1])


class Expected(NamedTuple):
    """A claim about a case: of a share of networks or a mean, or how two settings differ in it.

    Attributes:
        id: Of the claim, after the case's name.
        says: The claim in a sentence.
        stated: What the source says.
        accepted: Range and unit, as in `lib.page.claims`.
        reason: Why this range.
        of: A truth, or a number of points, of each network.
        arm: Of which networks, by name in `Case.arms`.
        over: The arm whose value is taken off, network by network; empty for none.
        among: Of which of the networks only; None for all.
        why: Why it is expected to fail; empty if it is not.
        source: Who says so; empty for the case's page.
    """

    id: str
    says: str
    stated: str
    accepted: str
    reason: str
    of: Callable[[Seen], np.ndarray]
    arm: str = AS_TOLD
    over: str = ""
    among: Callable[[Seen], np.ndarray] | None = None
    why: str = ""
    source: str = ""

    def measured(self, seen: Mapping[str, Seen]) -> stats.Estimate:
        """What it came to, from what was seen, by arm."""
        values = self.of(seen[self.arm])
        if self.among:
            values = values[self.among(seen[self.arm])]
        if not len(values):
            return NONE
        if values.dtype == bool and not self.over:
            return stats.proportion(values)
        most = 1 if values.dtype == bool else 100
        if self.over:
            pair = (np.asarray(v, float) for v in (values, self.of(seen[self.over])))
            return stats.paired_difference(*pair, 1, within=(-most, most))
        return stats.mean(values, 1, within=(0, most))


@dataclass(frozen=True)
class Case:
    """A network that somebody asked about.

    Attributes:
        name: Short, for tables and claims: lower-case words joined by ``-``.
        title: What was asked.
        link: Where.
        saw: What its asker saw, with the numbers that they give.
        setting: As told.
        guessed: What was not told, and is guessed.
        text: What this book says to it: MyST with fields of what the chapter's cell gives it.
        tries: Other guesses, and what it is compared with, each a change of the setting.
        told: What is said there to help, likewise.
        claims: What is expected.
        mistake: What was wrong in the asker's code, if it is no matter of the network.
    """

    name: str
    title: str
    link: str
    saw: str
    setting: Setting
    guessed: str
    text: str
    tries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    claims: tuple[Expected, ...] = ()
    mistake: str = ""

    def arms(self, count: int) -> dict[str, Setting]:
        """The setting as told, other guesses, what is said to help, by name, of this many images at most."""
        base = replace(self.setting, count=min(count, self.setting.count or count))
        more = {name: replace(base, **change) for name, change in {**self.tries, **self.told}.items()}
        return {AS_TOLD: base} | more


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases of these names, in their order in `CASES`; all of them for 'all'.

    Raises:
        ValueError: There is none of a name; says which there are.
    """
    every = [case.name for case in CASES]
    if unknown := sorted({*names} - {*every, "all"}):
        raise ValueError(f"public: no case {', '.join(unknown)}; there are all, {', '.join(every)}")
    return [case for case in CASES if {"all", case.name} & {*names}]


def _wrong(name: str) -> Callable[[Seen], np.ndarray]:
    return lambda seen: seen.wrong == name


OURS = "this book"
MOST, SHARE = "at least 0.75 share of networks", "Nearly all of them."
SIGN, CLEAR = "Any effect of that sign.", "Half of the networks or above."


def _by_rule(id: str, mechanism: str, says: str = "") -> Expected:
    says = says or f"By the rule it is {mechanism}"
    return Expected(id, says, "not asked", MOST, SHARE, _wrong(mechanism), source=OURS)


CASES = (
    Case(
        "relu-outputs", "My ReLU network fails to launch", "https://stats.stackexchange.com/q/188040",
        "Above a rate of about 0.06 it starts well and then gives up; 0.07 fails, 0.05 succeeds; the seed "
        "decides. Later the asker finds outputs that are dead.",
        Setting(
            count=20_000, dense=(100,), hidden="relu", output="relu", loss="squared error", init="normal",
            sd=0.01, batch=1, rate=0.07, epochs=1, looks=3,
        ),
        "weights N(0, 0.01) have that standard deviation (it may be their variance), biases are 0, pixels "
        "go from 0 to 1, half the sum of squares for each image, one pass over part of the images",
        "Outputs die one by one, and an output that is dead can never name its class again. At this rate "
        "{{counted(seen['as told'].lost > 0, 'has lost an output', 'have lost at least one')}}: [the seed "
        "decides]{{0 < np.sum(seen['as told'].lost > 0) < len(seen['as told'].lost)}}. At 0.08 "
        "{{counted(seen['rate 0.08'].lost > 0, 'has', 'have', whole=False)}}, at 0.05 "
        "{{counted(seen['rate 0.05'].lost > 0, 'has', 'have', whole=False)}}. Where the threshold lies "
        "hangs on what was not told.",
        tries={"rate 0.08": {"rate": 0.08}, "deviation 0.1": {"sd": 0.1}}, told={"rate 0.05": {"rate": 0.05}},
        claims=(
            Expected(
                "lost", "At a rate of 0.07 networks lose an output", "output units dead; the seed decides",
                "above 0.25 share of networks", "A quarter of them at least.", lambda seen: seen.lost > 0,
            ),
            Expected(
                "poor", "At 0.07 networks have less than 90 % of the training images right", "0.07 fails",
                "above 0.5 share of networks", "Most of them; 90 % is what trials reached at 0.05.",
                lambda seen: seen.right < 90,
            ),
            Expected(
                "told", "At 0.05 more training images are right than at 0.07", "0.05 succeeds",
                "above 0 points of accuracy", SIGN, lambda seen: seen.right, "rate 0.05", AS_TOLD,
            ),
            Expected(
                "dead", "At 0.08 outputs die", "output units dead", MOST,
                "Nearly all; the threshold hangs on what is not told, so a rate above it.",
                lambda seen: seen.lost > 0, "rate 0.08",
            ),
        ),
    ),
    Case(
        "nielsen-relu", "Replace sigmoid with ReLU, but useless",
        "https://github.com/MichalDanielDobrzanski/DeepLearningPython/issues/13",
        "401 of 4200 images right, 9.5 %, in every epoch.",
        Setting(
            count=10_000, dense=(30,), hidden="relu", output="relu", loss="squared error", init="normal",
            sd=1.0, bias_sd=1.0, batch=10, rate=3.0, epochs=3, looks=3,
        ),
        "30 hidden units, a rate of 3 and batches of 10, as in Nielsen's book",
        "The first steps throw all outputs below zero, where a rectifier has no slope: "
        "{{counted(seen['as told'].lost == 1, 'has lost all outputs', 'have lost all outputs')}}. The "
        "gradient is then zero to the bit, and every image is called a 0, which is right for that share of "
        "them. What is said to help changes two things, and [each alone does "
        "nothing]{{not seen['rate 0.01'].trains.any() and not seen['weights x 0.1'].trains.any()}}; with "
        "both, {{counted(seen['rate 0.01, weights x 0.1'].trains, 'trains', 'train', whole=False)}}.",
        tries={
            "rate 0.01": {"rate": 0.01}, "weights x 0.1": {"gain": 0.1},
            "100 hidden units": {"dense": (100,)},
        },
        told={"rate 0.01, weights x 0.1": {"rate": 0.01, "gain": 0.1, "epochs": 10}},
        claims=(
            Expected(
                "chance", "The network never starts", "401 of 4200 in epochs 0, 1 and 2", MOST, SHARE,
                lambda seen: seen.becomes == "never starts",
            ),
            _by_rule("dead", "dead units"),
            Expected(
                "told", "A rate of 0.01 with a tenth of the weights lets more of them train",
                "9677 of 10000 at epoch 29", "above 0.25 difference of shares",
                "A quarter of the networks at least.", lambda seen: seen.trains, "rate 0.01, weights x 0.1",
                AS_TOLD,
            ),
        ),
    ),
    Case(
        "rate-ten", "Poor performance in dropout example",
        "https://github.com/rasmusbergpalm/DeepLearnToolbox/issues/12",
        "Mean squared error 0.503 after the first epoch, then 0.5; 89.68 % wrong. A rate of 1 is a better "
        "choice.",
        Setting(
            count=2500, dense=(800, 800), hidden="sigmoid", output="sigmoid", loss="squared error",
            init="glorot", gain=4.0, dropout=0.5, batch=100, rate=10.0, epochs=2, looks=2, curved=False,
        ),
        "units, first weights and no momentum as in the toolbox's code of that week. Its dropout does not "
        "double what is kept, as Keras and this book do; a quarter of the rate and half of the weights do "
        "the same to a layer behind a dropout",
        "A loss of one half says that all outputs are at 0 for all images: "
        "{{counted(seen['as told'].lost == 1, 'is there', 'are there')}}. The outputs are saturated, and "
        "squared error has no gradient there. With dropout as the toolbox has it and a rate of 1, "
        "{{counted(seen['rate 1, as in the toolbox'].lost == 1, 'is', 'are', whole=False)}}. The run is "
        "short; in it those have {{np.mean(seen['rate 1, as in the toolbox'].test):.0f}} % of the test "
        "images right in the mean, the others {{np.mean(seen['as told'].test):.0f}} %.",
        tries={"rate 10, as in the toolbox": {"rate": 2.5, "gain": 2.0}},
        told={"rate 1, as in the toolbox": {"rate": 0.25, "gain": 2.0, "epochs": 8}},
        claims=(
            Expected(
                "half", "The loss ends at one half, from 0.49 to 0.51", "0.50001", MOST, SHARE,
                lambda seen: (seen.loss > 0.49) & (seen.loss < 0.51),
            ),
            _by_rule("shut", "saturated units"),
            Expected(
                "told", "At a rate of 1 fewer networks have lost all outputs", "a better choice",
                "above 0.5 difference of shares", CLEAR, lambda seen: seen.lost == 1, AS_TOLD,
                "rate 1, as in the toolbox",
            ),
        ),
    ),
    Case(
        "cost-at-entropy", "Backpropagation works on MNIST, but accuracy is very low",
        "https://datascience.stackexchange.com/q/21889",
        "The cost tends to 3.24 to 3.25 from above; 11 % right; all outputs near 0.1. Gradients were "
        "checked.",
        Setting(
            count=10_000, dense=(5, 5), hidden="sigmoid", output="sigmoid", loss="binary cross-entropy",
            init="normal", sd=0.07, decay=3.3e-5, batch=100, rate=0.1, epochs=10, looks=3,
        ),
        "first weights as in the course that the code follows, the strength of L2, the rate, batches of "
        "100, how long it was trained",
        "The asker's number is what an output that ignores the image comes to: ten outputs, each with the "
        "entropy of one digit in ten. "
        "{{counted(seen['as told'].becomes == 'never starts', 'stays there', 'stay there').capitalize()}}. "
        "Nothing is broken: the gradient is small and not zero, and the code may be right. At ten times the "
        "rate and for twice as long, "
        "{{counted(seen['rate 1, twice as long'].trains, 'trains', 'train', whole=False)}}.",
        tries={"rate 1, twice as long": {"rate": 1.0, "epochs": 20}, "weights N(0, 1)": {"sd": 1.0}},
        claims=(
            Expected(
                "level", "The loss ends from 3.24 to 3.26", "3.24 to 3.25", MOST, SHARE,
                lambda seen: (seen.loss > 3.24) & (seen.loss < 3.26),
            ),
            _by_rule("slow", "step too small", "By the rule the step is too small"),
            Expected(
                "rate", "At ten times the rate, for twice as long, more of them train", "not asked",
                "above 0.5 difference of shares", CLEAR + " It tests the diagnosis.",
                lambda seen: seen.trains, "rate 1, twice as long", AS_TOLD, source=OURS,
            ),
        ),
    ),
    Case(
        "sigmoid-shares", "Accuracy falls after 30 epochs", "https://www.52zhanxing.com/ask/7611906.html",
        "After some 30 epochs the accuracy on training and on test images begins to fall.",
        Setting(
            count=2000, dense=(100,), hidden="sigmoid", output="sigmoid", loss="cross-entropy", init="normal",
            sd=0.05, batch=32, rate=0.1, epochs=40, looks=9, curved=False,
        ),
        "100 hidden units, batches of 32",
        "As told this does not come again: {{counted(seen['as told'].fallen >= 1, 'ends a point below its "
        "best', 'end a point below their best')}}. With pixels that are not divided by 255, which the asker "
        "says they are, {{counted(seen['raw pixels'].fallen >= 1, 'does', 'do', whole=False)}}. So we "
        "cannot say that this was it, and we found nothing else that falls.",
        tries={"raw pixels": {"pixels": "0 to 255"}, "batch 128": {"batch": 128}},
        claims=(
            Expected(
                "falls", "The accuracy on training images ends a point or more below its best", "both fall",
                "above 0.5 share of networks", "Most of them.", lambda seen: seen.fallen >= 1,
                why="In trials networks went on learning, also with all images.",
            ),
            Expected(
                "raw", "The same, where pixels are not divided by 255", "both fall",
                "above 0.5 share of networks", "Some of them at least.", lambda seen: seen.fallen >= 1,
                "raw pixels",
            ),
        ),
    ),
    Case(
        "chance-at-once", "Sudden accuracy drop", "https://github.com/keras-team/keras/issues/3425",
        "Networks, convolutional ones with ReLU among them, came to the expected loss, then fell to chance "
        "at once and stayed. One reply names dead ReLU, another doubts it.",
        Setting(
            count=1000, pixels="standardised", channels=(4, 8), dense=(32,), hidden="relu", batch=2, rate=0.1,
            epochs=6, looks=4, curved=False,
        ),
        "all but convolutions and ReLU; Adam, and batches of 32, did not fall in trials",
        "Next to all of 'as told' is our guess here, chosen because nets fall at it. At it "
        "{{counted(seen['as told'].becomes == 'collapses', 'learns and then falls', 'learn "
        "and then fall')}}, and stay down. Of those, "
        "{{np.sum(seen['as told'].wrong[seen['as told'].becomes == 'collapses'] == 'dead units')}} have "
        "dead units. With LeakyReLU "
        "{{counted(seen['LeakyReLU'].becomes == 'collapses', 'falls', 'fall', whole=False)}}. So dead units "
        "can do what was seen. Whether they did so there nobody can tell: too little was told.",
        tries={"momentum, batch 8": {"optimiser": "momentum", "batch": 8, "rate": 0.05}},
        told={"LeakyReLU": {"hidden": "leaky relu"}},
        claims=(
            Expected(
                "falls", "Networks learn, then fall to chance and stay", "suddenly get zero",
                "above 0.15 share of networks", "Some do, and not one by accident.",
                lambda seen: seen.becomes == "collapses",
            ),
            Expected(
                "dead", "Those that fall have dead units", "relu, may be",
                "at least 0.6 share of networks that fall", "Most of them; they are few.",
                _wrong("dead units"), among=lambda seen: seen.becomes == "collapses",
            ),
            Expected(
                "told", "With LeakyReLU fewer fall", "not asked", "above 0.1 difference of shares",
                "A tenth of the networks at least.", lambda seen: seen.becomes == "collapses", AS_TOLD,
                "LeakyReLU",
            ),
        ),
    ),
    Case(
        "relu-pixels", "ReLU vs sigmoid in MNIST example", "https://datascience.stackexchange.com/q/18667",
        "With sigmoids about 95 % right, with ReLU in their place less than 50 %. An answer: with pixels "
        "from 0 to 1, 93 %.",
        Setting(
            count=10_000, pixels="0 to 255", dense=(100,), hidden="relu", batch=100, rate=0.01, epochs=5,
            looks=3,
        ),
        "5 epochs in place of 15, and part of the images",
        "With rectifiers {{np.mean(seen['as told'].test):.0f}} % of the test images are right in the mean, "
        "with sigmoids {{np.mean(seen['sigmoid'].test):.0f}} %, with rectifiers and pixels from 0 to 1 "
        "{{np.mean(seen['inputs 0 to 1'].test):.0f}} %. Inputs of up to 255 make the first steps of "
        "rectifiers so long that units die; sigmoids are bounded, and so are theirs.",
        tries={"sigmoid": {"hidden": "sigmoid"}}, told={"inputs 0 to 1": {"pixels": "0 to 1"}},
        claims=(
            Expected(
                "worse", "ReLU gets fewer right than sigmoids", "less than 50 against 95 %",
                "above 20 points of accuracy", "Half of the difference that was told.",
                lambda seen: seen.test, "sigmoid", AS_TOLD,
            ),
            _by_rule("dead", "dead units"),
            Expected(
                "told", "With pixels from 0 to 1 more of them train", "93 against 55 %",
                "above 0.5 difference of shares", CLEAR, lambda seen: seen.trains, "inputs 0 to 1", AS_TOLD,
            ),
        ),
        mistake="The bytes go in as they are. It is a line of the code that is missing, and no fault of the "
        "network.",
    ),
    Case(
        "unscaled-adam", "Bad performance with ReLU on MNIST data set",
        "https://stats.stackexchange.com/q/367057",
        "Validation accuracy of around 20 % on Fashion-MNIST; the asker finds that the pixels were not "
        "scaled.",
        Setting(
            count=5000, pixels="0 to 255", dense=(128, 128), hidden="relu", optimiser="adam", rate=0.001,
            batch=32, epochs=4, looks=3, curved=False,
        ),
        "MNIST in place of Fashion-MNIST, which has to be fetched",
        "On MNIST this does not come again: {{np.mean(seen['as told'].test):.0f}} % of the test images are "
        "right in the mean, and {{np.mean(seen['inputs 0 to 1'].test):.0f}} % with pixels from 0 to 1. Adam "
        "divides the gradient by its own size, so its steps do not grow with the pixels. At ten times the "
        "rate {{counted(~seen['rate 0.01'].trains, 'does not train', 'do not train', whole=False)}}.",
        tries={"rate 0.01": {"rate": 0.01}}, told={"inputs 0 to 1": {"pixels": "0 to 1"}},
        claims=(
            Expected(
                "stuck", "Less than 30 % of the test images are right", "around 20 %",
                "above 0.5 share of networks", "Most of them.", lambda seen: seen.test < 30,
                why="These are MNIST's images, and Adam's steps do not grow with the pixels.",
            ),
        ),
        mistake="The bytes go in as they are, as the asker says.",
    ),
)  # fmt: skip
