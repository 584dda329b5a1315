"""The numbers of past builds: one line of JSON for each, in a file that is published with the book.

A build at full scale reads the lines of the builds before it from ``_build/history.jsonl``, publishes them
with its own beside its pages, and keeps that file for the next. A build from the same executed copies is the
same build, and takes the place of its line. A line that cannot be read is reported, and kept as it is.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from book import record
from lib.page import claims

FILE = "_build/history.jsonl"
_MADE = ("commit", "clean", "started", "processor", "threads", "system", "versions")
_MEASURED = ("verdict", "value", "interval", "n")


class Past(NamedTuple):
    """What a history file holds.

    Attributes:
        builds: those that can be read, oldest first.
        damaged: (line number, line) of the others.
    """

    builds: list[dict[str, Any]]
    damaged: list[tuple[int, str]]

    def faults(self) -> list[str]:
        """What is to be said of the damaged lines."""
        where = Path(FILE).name
        return [f"{where}, line {n}: cannot be read, left out: {line[:60]!r}" for n, line in self.damaged]


class Point(NamedTuple):
    """One claim in one build.

    Attributes:
        build: number of the build, from 1.
        value: measured value, None when it was not measured.
        interval: its lower and upper end, None likewise.
        verdict: of that build.
        moved: whether value and interval part from those of the measurement before.
    """

    build: int
    value: float | None
    interval: Sequence[float] | None
    verdict: str
    moved: bool


def build(notebooks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The line of a build: by chapter, what made it and what it measured.

    Args:
        notebooks: executed chapters as nested dicts.
    """
    made, measured = record.provenance(notebooks), record.verdicts(notebooks)
    return {
        name: {"made": {field: made[name][field] for field in _MADE}, "claims": found}
        for name, found in measured.items()
    }


def read(path: Path) -> Past:
    """The builds that a file holds; none when there is no file."""
    past = Past([], [])
    text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            past.builds.append(_checked(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            past.damaged.append((number, line))
    return past


def _checked(line: Any) -> dict[str, Any]:
    """A build as read; any of the four common errors when it is none."""
    for chapter in line.values():
        if set(chapter) != {"made", "claims"} or set(chapter["made"]) != set(_MADE):
            raise ValueError("fields")
        dict(chapter["made"]["versions"])
        for claim in chapter["claims"].values():
            if set(claim) != set(_MEASURED) or claim["verdict"] not in claims.VERDICTS:
                raise ValueError("claim")
            if (claim["value"] is None) != (claim["interval"] is None):
                raise ValueError("a value wants an interval")
            if claim["value"] is not None:
                low, high = claim["interval"]
                if not low <= claim["value"] <= high:
                    raise ValueError("a value outside its interval")
    return dict(line)


def joined(past: Sequence[dict[str, Any]], now: dict[str, Any]) -> list[dict[str, Any]]:
    """Past builds and this one, each once, oldest first.

    Args:
        past: builds as read.
        now: this build; it takes the place of one from the same executed copies.
    """
    return [*(one for one in past if _identity(one) != _identity(now)), now]


def _identity(one: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return sorted((name, c["made"]["commit"], c["made"]["started"]) for name, c in one.items())


def text(builds: Sequence[Mapping[str, Any]], damaged: Sequence[tuple[int, str]]) -> str:
    """A history file: the builds, after whatever lines could not be read, which somebody may mend."""
    lines = [line for _, line in damaged] + [json.dumps(one, ensure_ascii=False) for one in builds]
    return "".join(line + "\n" for line in lines)


def date(one: Mapping[str, Any]) -> str:
    """When the last chapter of a build was run."""
    return max((c["made"]["started"] for c in one.values()), default="")


def machine(one: Mapping[str, Any]) -> str:
    """On what the chapters of a build were run."""
    made = [c["made"] for c in one.values()]
    return "; ".join(dict.fromkeys(f"{m['processor']}, {m['threads']} threads, {m['system']}" for m in made))


def versions(one: Mapping[str, Any]) -> dict[str, str]:
    """Versions with which the chapters of a build were run."""
    found: dict[str, list[str]] = {}
    for chapter in one.values():
        for name, version in chapter["made"]["versions"].items():
            found.setdefault(name, []).append(version)
    return {name: " and ".join(sorted(set(several))) for name, several in found.items()}


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Versions and machine in which two builds differ, in words."""
    old, new = versions(before), versions(now)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    found = [f"{name} {old.get(name, 'none')} to {new.get(name, 'none')}" for name in names]
    return found + (["machine"] if machine(before) != machine(now) else [])


def track(builds: Sequence[Mapping[str, Any]], chapter: str, claim: str) -> list[Point]:
    """One claim through the builds that have it.

    A measurement has moved when its value lies outside the interval of the one before, or that one's value
    outside its own. The same seeds on the same machine give the same numbers, so a move tells of a change
    of code, parameters, versions or machine that matters more than the luck of the seeds.

    Args:
        builds: oldest first.
        chapter: name of the chapter.
        claim: id of the claim.
    """
    points: list[Point] = []
    for number, one in enumerate(builds, 1):
        found = one.get(chapter, {}).get("claims", {}).get(claim)
        if found is None:
            continue
        before = next((p for p in reversed(points) if p.value is not None), None)
        moved = before is not None and found["value"] is not None and _apart(before, found)
        points.append(Point(number, found["value"], found["interval"], found["verdict"], moved))
    return points


def _apart(before: Point, now: Mapping[str, Any]) -> bool:
    (old_low, old_high), (low, high) = before.interval, now["interval"]
    return not (old_low <= now["value"] <= old_high and low <= before.value <= high)
