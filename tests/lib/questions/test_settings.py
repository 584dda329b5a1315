"""Chains of settings."""

import json
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest

from lib import checks, data
from lib.questions import settings


@dataclass(frozen=True)
class Leg(settings.Chain):
    same: ClassVar[tuple[str, ...]] = ("sizes",)

    after: "Leg | None" = None
    length: Annotated[int, checks.whole(0, 10)] = 3
    sizes: Annotated[tuple[int, ...], checks.wholes(0, 9)] = (1, 2)
    keep: bool = True

    def check(self) -> None:
        if self.length < len(self.sizes):
            raise ValueError("length must hold the sizes")


def test_a_chain_goes_through_json_and_knows_what_came_before():
    last = Leg(after=Leg(after=Leg(length=2), length=2), length=4)
    config = json.loads(json.dumps(last.config()))
    assert Leg.of(config) == last and hash(Leg.of(config)) == hash(last)
    assert config["data"] == data.CONTENT_SHA256 and config["sizes"] == [1, 2]
    assert [last.depth, last.after.depth, last.after.after.depth] == [2, 1, 0]
    assert last.before("length") == 4 and last.after.after.before("length") == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"length": 11}, "^length must be a whole number from 0 to 10, got 11"),
        ({"after": Leg(keep=False)}, "^after must be a Leg that keeps its networks, got "),
        ({"after": 3}, "^after must be a Leg that keeps its networks, got 3"),
        ({"after": Leg(sizes=(3,))}, r"^sizes is \(1, 2\), but \(3,\) in the one before"),
        ({"after": 3, "length": 11}, "^length"),  # its own fields first
        ({"after": 3, "length": 1}, "^length must hold the sizes"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Leg(**change)
