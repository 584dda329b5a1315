"""Streams of random numbers: no two purposes share one."""

import itertools
import re
from pathlib import Path

import pytest

from lib import streams

LIB = Path(streams.__file__).parent
ENDS = (0, 1, 2, 2**20 - 1, 2**31 - 1, 2**32 - 1)  # of what is allowed, and what is like a purpose's number


def test_no_two_streams_of_numpys_are_the_same():
    """By the generators' first states: at the ends of what is allowed, of every purpose."""
    states = [
        streams.generator(purpose, *numbers).bit_generator.state["state"]["state"]
        for purpose, named in streams.PURPOSES.items()
        for numbers in itertools.product(ENDS, repeat=len(named))
    ]
    assert len(set(states)) == len(states) > 200


def test_no_two_streams_of_tensorflows_are_the_same():
    """They lie in ranges apart, below what a seed may be; the initial weights' stand first."""
    single = [purpose for purpose, named in streams.PURPOSES.items() if len(named) == 1]
    ends = [streams.weights(purpose, number) for purpose in single for number in (0, streams.MOST - 1)]
    assert ends == sorted(set(ends)) and ends[0] == 0 and ends[-1] < 2**31
    with pytest.raises(ValueError, match="^stage must be from 0 to 1048575, got 1048576"):
        streams.weights("head", streams.MOST)


@pytest.mark.parametrize("numbers", [(), (1,), (1, 2, 3), (-1, 0), (0, 2**32)])
def test_numbers_that_another_stream_could_have_are_refused(numbers):
    with pytest.raises(ValueError, match="^plateau order takes seed, epoch, each from 0 to 4294967295, got"):
        streams.generator("plateau order", *numbers)


def test_nobody_draws_but_by_a_purpose():
    """But for the bootstraps of `lib.stats`, whose seeds are a chapter's own."""
    texts = {path.name: path.read_text("utf-8") for path in LIB.rglob("*.py") if path.name != "streams.py"}
    assert {name for name, text in texts.items() if re.search(r"default_rng|SeedSequence", text)} == {
        "stats.py"
    }
    for purpose in streams.PURPOSES:
        users = {name for name, text in texts.items() if f'"{purpose}"' in text}
        both = purpose == "drift order" and users == {"drift.py", "walks.py"}  # which keep their orders apart
        assert len(users) == 1 or purpose == "initial" or both, purpose
    drawn = re.findall(r"\bdraw\(.*\[\w+, (\w+)\]", texts["nets.py"] + texts["convnets.py"])
    assert len(drawn) > 1 and {*drawn} == {"stream"}
