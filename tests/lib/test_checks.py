"""Checks of plain values, alone and beside the fields of a dataclass."""

import json
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import checks

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers())
)


@given(ANYTHING)
def test_a_value_is_taken_if_and_only_if_it_fits(value):
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = (whole or isinstance(value, float)) and -1 <= value <= 5
    for check, fits in (
        (checks.whole(-1, 5), whole and -1 <= value <= 5),
        (checks.number(-1, 5), number),
        (checks.choice(("b", "a")), value in ("a", "b")),
        (checks.flag, isinstance(value, bool)),
        (checks.wholes(-1, 5), isinstance(value, list) and all(-1 <= v <= 5 for v in value)),
    ):
        if fits:
            taken = check("size", value)
            assert taken == (tuple(value) if isinstance(value, list) else value)
            assert checks.optional(check)("size", value) == taken
        else:
            with pytest.raises(ValueError, match="^size must be .* got ") as error:
                check("size", value)
            assert str(error.value).endswith(repr(value))
    assert checks.optional(checks.flag)("size", None) is None


@pytest.mark.parametrize(
    "check, value, plain",
    [
        (checks.whole(0, 5), np.int64(3), 3),
        (checks.whole(0, 5), np.uint8(3), 3),
        (checks.number(0, 5), np.float32(0.5), 0.5),
        (checks.number(0, 5), np.int32(2), 2),
        (checks.number(0, 5), 2, 2),
        (checks.wholes(0, 5), [np.int64(1), 2], (1, 2)),
        (checks.numbers(0, 5), [np.float64(1.5), 2], (1.5, 2)),
        (checks.flag, np.True_, True),
    ],
)
def test_numpys_numbers_are_taken_and_given_back_as_pythons(check, value, plain):
    taken = check("size", value)
    assert taken == plain and type(taken) is type(plain)
    json.dumps(taken)


@pytest.mark.parametrize("value", [(1, 1), (2, 1), (-1,), (4,), (1.0,), (True,), 1, None, "12", {1, 2}])
def test_numbers_that_do_not_rise_within_the_range_are_refused(value):
    check = checks.wholes(0, 3, rising=True)
    with pytest.raises(ValueError, match="^looks must be rising whole numbers from 0 to 3, got "):
        check("looks", value)
    for fits in ((0, 1, 3), ()):
        assert check("looks", fits) == check("looks", list(fits)) == fits


@pytest.mark.parametrize(
    "least, most, count, refused", [(1, 3, "1 to 3 ", (0, 4)), (2, 2, "2 ", (1, 3)), (0, None, "", ())]
)
def test_as_many_whole_numbers_as_are_wanted(least, most, count, refused):
    check = checks.wholes(1, 9, least, most)
    for n in refused:
        with pytest.raises(ValueError, match=f"^sizes must be {count}whole numbers from 1 to 9, got "):
            check("sizes", (5,) * n)
    for n in {least, most or 100}:
        assert check("sizes", (5,) * n) == (5,) * n


@pytest.mark.parametrize("value", [(), (0.1, np.nan), (-1.0,), (True,), ("1",), 0.1, None])
def test_numbers_that_do_not_fit_are_refused(value):
    with pytest.raises(ValueError, match="^rates must be one or more numbers from 0 to 5, got "):
        checks.numbers(0, 5)("rates", value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 10**400, np.bool_(True)])
def test_what_is_not_finite_is_no_number(value):
    with pytest.raises(ValueError, match="^rate must be a number from 0 to 1e"):
        checks.number(0, 1e300)("rate", value)


@dataclass(frozen=True)
class Box:
    size: Annotated[int, checks.whole(0, 10)] = 3
    sides: Annotated[tuple[int, ...], checks.wholes(0, 10)] = ()
    free: object = None


def test_fields_are_checked_in_order_and_put_in_their_places():
    box = Box(np.int64(4), [1, 2], [1])
    checks.fields(box)
    assert box == Box(4, (1, 2), [1]) and type(box.size) is int
    with pytest.raises(ValueError, match="^size must be a whole number from 0 to 10, got 11"):
        checks.fields(Box(11, 5))
