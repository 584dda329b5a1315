"""Public cases: networks that people asked about, as small records for the chapter on one's own network.

A new one is a record in `CASES`: CONTRIBUTING.md says how. As code, so that a change of one runs the chapter
anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from lib import stats
from lib.questions import own
from lib.questions.own import Setting

AS_TOLD = "as told"


class Expected(NamedTuple):
    """A claim about a case: a share of networks, or a difference of two shares.

    Attributes:
        id: Of the claim, after the case's name.
        says: The claim in a sentence.
        stated: What the source says.
        accepted: Range and unit, as in `lib.page.claims`.
        reason: Why this range.
        which: Names in `lib.questions.own.OUTCOMES` or `lib.diagnosis.MECHANISMS` that are counted.
        arm: Of which networks, by name in `Case.arms`.
        over: The arm whose share is taken off; empty for none.
        why: Why it is expected to fail; empty if it is not.
        source: Who says so; empty for the case's page.
    """

    id: str
    says: str
    stated: str
    accepted: str
    reason: str
    which: tuple[str, ...]
    arm: str = AS_TOLD
    over: str = ""
    why: str = ""
    source: str = ""


@dataclass(frozen=True)
class Case:
    """A network that somebody asked about.

    Attributes:
        name: Short, for tables and claims: lower-case words joined by ``-``.
        title: What was asked.
        link: Where.
        saw: What its asker saw, with the numbers that they give.
        setting: As told.
        text: What this book says to it: MyST with fields of what the chapter's cell gives it.
        guessed: What was not told, and is guessed.
        tries: Other guesses, each a change of the setting.
        told: What is said there to help, likewise.
        claims: What is expected.
        mistake: What was wrong in the asker's code, if it is no matter of the network.
    """

    name: str
    title: str
    link: str
    saw: str
    setting: Setting
    text: str
    guessed: str
    tries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    claims: tuple[Expected, ...] = ()
    mistake: str = ""

    def arms(self, count: int) -> dict[str, Setting]:
        """The setting as told, other guesses, and what is said to help, by name.

        Args:
            count: Training images at most.
        """
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


def measured(
    claim: Expected, found: Mapping[str, Mapping], settings: Mapping[str, Setting]
) -> stats.Estimate:
    """What a claim came to.

    Args:
        claim: Of a case.
        found: What `own.job` returned, by arm.
        settings: By arm.
    """

    def counted(arm: str) -> np.ndarray:
        kinds = [own.outcome(found[arm], settings[arm].known()), own.diagnose(found[arm], settings[arm])]
        return np.isin(kinds, claim.which).any(axis=0)

    if not claim.over:
        return stats.proportion(counted(claim.arm))
    pair = (counted(arm).astype(float) for arm in (claim.arm, claim.over))
    return stats.paired_difference(*pair, 1, within=(-1, 1))


CASES = (
    Case(
        "nielsen-relu",
        "Replace sigmoid with ReLU, but useless",
        "https://github.com/MichalDanielDobrzanski/DeepLearningPython/issues/13",
        "401 of 4200 images right in every epoch.",
        Setting(
            dense=(30,), hidden="relu", output="relu", loss="squared error", init="normal", sd=1.0,
            bias_sd=1.0, batch=10, rate=3.0, epochs=5,
        ),
        "{{counted(trains['as told'], 'trains', 'train').capitalize()}}.",
        "30 hidden units, a rate of 3 and batches of 10, as in Nielsen's book",
        tries={"rate 0.01": {"rate": 0.01}},
        told={"rate 0.01, weights x 0.1": {"rate": 0.01, "gain": 0.1}},
        claims=(
            Expected(
                "fails", "Nielsen's network with rectifiers does not learn", "401 of 4200 in every epoch",
                "at least 0.8 share of networks", "In nearly all of them.", ("never starts", "collapses"),
            ),
        ),
    ),
)  # fmt: skip
