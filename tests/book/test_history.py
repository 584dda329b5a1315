"""The numbers of past builds: what is kept, what counts as a move, what a damaged file does."""

import json

import nbformat
import pytest
import toy_book

from book import gate, history

MADE = {
    "commit": "c1", "clean": True, "started": "2026-01-01T00:00:00+00:00", "processor": "toy", "threads": 1,
    "system": "Linux", "versions": {"Python": "3"},
}  # fmt: skip


def line(value=1.0, low=0.5, high=1.5, verdict="holds", **made):
    """A build with one claim of one chapter."""
    interval = None if value is None else [low, high]
    claim = {"verdict": verdict, "value": value, "interval": interval, "n": None if value is None else 3}
    return {"toy": {"made": {**MADE, **made}, "claims": {"mean": claim}}}


def notebook(value=2.5):
    """An executed toy chapter: its claims and its stamp."""
    new = nbformat.v4
    stamp = {**MADE, "parameters": {"size": 3}, "overridden": [], "seeds": None, "data_sha256": "0" * 64}
    outputs = [{gate.CLAIMS_MIME: toy_book.claim(value=value)}, {gate.STAMP_MIME: {**stamp, "seconds": 1.0}}]
    cell = new.new_code_cell("x", outputs=[new.new_output("display_data", data) for data in outputs])
    return new.new_notebook(cells=[cell])


def test_a_build_says_what_made_each_number():
    assert history.build([notebook()]) == {
        "toy": {
            "made": MADE,
            "claims": {"mean": {"verdict": "holds", "value": 2.5, "interval": [2.5, 2.5], "n": 3}},
        }
    }


def test_what_is_written_is_read_again(tmp_path):
    path, builds = tmp_path / "h.jsonl", [line(), line(None, commit="c2")]
    path.write_text(history.text(builds, []))
    assert history.read(path) == (builds, [])
    assert history.read(tmp_path / "none") == ([], [])


DAMAGED = {
    "cut short": lambda text: text[: len(text) // 2],
    "no JSON": lambda _: "<html>404</html>",
    "empty": lambda _: "",
    "a list": lambda _: "[1, 2]",
    "a number": lambda _: "3",
    "no verdict": lambda text: text.replace("holds", "maybe"),
    "value outside": lambda text: text.replace('"value": 1.0', '"value": 9.0'),
    "value a text": lambda text: text.replace('"value": 1.0', '"value": "1"'),
    "half a claim": lambda text: text.replace(', "n": 3', ""),
    "no commit": lambda text: text.replace('"commit": "c1", ', ""),
    "versions a text": lambda text: text.replace('{"Python": "3"}', '"3"'),
    "no interval": lambda text: text.replace("[0.5, 1.5]", "null"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_is_named_and_kept_and_costs_no_other(tmp_path, damage):
    path, good = tmp_path / "h.jsonl", json.dumps(line())
    bad = DAMAGED[damage](good)
    assert bad != good
    path.write_bytes(f"{good}\n{bad}\n{json.dumps(line(commit='c2'))}\n".encode())
    past = history.read(path)
    assert past.builds == [line(), line(commit="c2")]
    assert [number for number, _ in past.damaged] == [2]
    assert len(past.faults()) == 1 and "line 2" in past.faults()[0]
    assert bad in history.text(past.builds, past.damaged).splitlines()


def test_the_same_build_takes_the_place_of_its_line():
    now = line(verdict="fails", commit="c2")
    assert history.joined([line(), line(commit="c2"), line(commit="c3")], now) == [
        line(),
        line(commit="c3"),
        now,
    ]
    again = line(started="2026-02-01T00:00:00+00:00")
    assert history.joined([line()], again) == [line(), again], "a new run at the same commit is a new build"


def test_a_move_is_a_value_beyond_an_interval():
    builds = [line(), line(1.4, 1.0, 1.8), line(1.7, 1.3, 2.0), line(1.7, 1.69, 1.71), line(1.6, 0, 3)]
    points = history.track(builds, "toy", "mean")
    assert [p.moved for p in points] == [False, False, False, False, True]
    assert [p.build for p in points] == [1, 2, 3, 4, 5]


def test_a_move_is_seen_over_builds_that_lack_the_claim():
    builds = [line(), {"other": line()["toy"]}, line(None, verdict="out of range"), line(9, 8, 10)]
    points = history.track(builds, "toy", "mean")
    assert [(p.build, p.moved) for p in points] == [(1, False), (3, False), (4, True)]
    assert history.track(builds, "toy", "median") == []


def test_exact_numbers_move_when_they_differ():
    assert [p.moved for p in history.track([line(1, 1, 1), line(1, 1, 1)], "toy", "mean")] == [False, False]
    assert history.track([line(1, 1, 1), line(2, 2, 2)], "toy", "mean")[1].moved


def test_machine_versions_and_date_are_those_of_all_chapters():
    other = line(processor="other", started="2026-03-01T00:00:00+00:00", versions={"Python": "4"})
    both = {**line(), "second": other["toy"]}
    assert history.machine(both) == "toy, 1 threads, Linux; other, 1 threads, Linux"
    assert history.versions(both) == {"Python": "3 and 4"}
    assert history.date(both).startswith("2026-03-01")


def test_changes_of_machine_and_versions_are_named():
    one = line(versions={"numpy": "1", "scipy": "1"})
    assert history.changed(one, one) == []
    assert history.changed(one, line(versions={"numpy": "1", "scipy": "1"}, threads=4)) == ["machine"]
    newer = line(versions={"numpy": "2", "pandas": "1"})
    assert history.changed(one, newer) == ["numpy 1 to 2", "scipy 1 to none", "pandas none to 1"]
