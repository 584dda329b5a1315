"""Checks of plain values, and chains of settings."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import data, settings

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers())
)


@dataclass(frozen=True)
class Leg(settings.Chain):
    same: ClassVar[tuple[str, ...]] = ("sizes",)

    after: "Leg | None" = None
    length: int = 3
    sizes: tuple[int, ...] = (1, 2)
    keep: bool = True

    def check(self) -> None:
        settings.whole("length", self.length, 0, 10)


@given(ANYTHING)
def test_a_value_is_taken_if_and_only_if_it_fits(value):
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = (whole or isinstance(value, float)) and -1 <= value <= 5
    fits = {
        settings.whole: (whole and -1 <= value <= 5, (-1, 5)),
        settings.number: (number, (-1, 5)),
        settings.choice: (value in ("a", "b"), (("b", "a"),)),
        settings.flag: (isinstance(value, bool), ()),
    }
    for check, (right, arguments) in fits.items():
        if right:
            check("size", value, *arguments)
        else:
            with pytest.raises(ValueError, match="^size must be .* got ") as error:
                check("size", value, *arguments)
            assert str(error.value).endswith(repr(value))


@pytest.mark.parametrize("value", [(1, 1), (2, 1), (-1,), (4,), (1.0,), (True,), [1], 1, None, "12"])
def test_numbers_that_do_not_rise_within_the_range_are_refused(value):
    with pytest.raises(ValueError, match="^looks must be rising whole numbers from 0 to 3, got "):
        settings.ascending("looks", value, 0, 3)
    settings.ascending("looks", (0, 1, 3), 0, 3)
    settings.ascending("looks", (), 0, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 10**400])
def test_what_is_not_finite_is_no_number(value):
    with pytest.raises(ValueError, match="^rate must be a number from 0 to 1e"):
        settings.number("rate", value, 0, 1e300)


def test_a_chain_goes_through_json_and_knows_what_came_before():
    last = Leg(after=Leg(after=Leg(length=1), length=2), length=4)
    config = json.loads(json.dumps(last.config()))
    assert Leg.of(config) == last and hash(Leg.of(config)) == hash(last)
    assert config["data"] == data.CONTENT_SHA256 and config["sizes"] == [1, 2]
    assert [last.depth, last.after.depth, last.after.after.depth] == [2, 1, 0]
    assert last.before("length") == 3 and last.after.after.before("length") == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"length": 11}, "^length must be a whole number from 0 to 10, got 11"),
        ({"after": Leg(keep=False)}, "^after must be a Leg that keeps its networks, got "),
        ({"after": 3}, "^after must be a Leg that keeps its networks, got 3"),
        ({"after": Leg(sizes=(3,))}, r"^sizes is \(1, 2\), but \(3,\) in the one before"),
        ({"after": 3, "length": 11}, "^length"),  # its own fields first
    ],
)
def test_a_setting_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Leg(**change)
