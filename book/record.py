"""What was recorded: verdicts and timings of the last accepted run, kept in the repository.

A change of any verdict shows in a diff of ``results/verdicts.json``, and fails the build until it is
recorded. Each file says at its end what made it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from book import gate, run
from lib.ensembles import store

VERDICTS = "results/verdicts.json"
TIMINGS = "results/timings.json"
PROVENANCE = "provenance"
_KEPT = ("verdict", "value", "interval", "n", "would_hold", "would_fail")
_DIGITS = 6  # of recorded values: enough to compare, few enough that a diff shows what changed


def verdicts(notebooks: Sequence[gate.Notebook]) -> dict[str, dict[str, Any]]:
    """Verdicts of executed chapters, as they are recorded.

    Returns:
        By chapter, by claim: verdict, value, interval, n, and which outcomes would have held and failed it.
    """
    found = {
        record["chapter"]: {c["id"]: {name: _rounded(c[name]) for name in _KEPT} for c in record["claims"]}
        for record in claims_records(notebooks)
    }
    return dict(sorted(found.items()))


def claims_records(notebooks: Sequence[gate.Notebook]) -> list[dict[str, Any]]:
    """Claims records of executed chapters, one each, in their order."""
    return [record for notebook in notebooks for record in gate.records(notebook, gate.CLAIMS_MIME)]


def provenance(notebooks: Sequence[gate.Notebook]) -> dict[str, dict[str, Any]]:
    """What made each executed chapter: its stamp, by chapter."""
    return {
        claims["chapter"]: gate.records(notebook, gate.STAMP_MIME)[0]
        for notebook in notebooks
        for claims in gate.records(notebook, gate.CLAIMS_MIME)
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def timings(notebook: gate.Notebook) -> dict[str, float]:
    """Seconds of each code cell of an executed chapter, by cell id.

    Empty when the run took chunks that an earlier one had kept: its seconds say too little of a whole run.
    """
    if any(stamp.get("chunks", {}).get("kept") for stamp in gate.records(notebook, gate.STAMP_MIME)):
        return {}
    seconds = {run.timed(c): c["metadata"].get("papermill", {}).get("duration") for c in notebook["cells"]}
    # where the clock was set back they are below 0
    return {name: round(max(took, 0), 2) for name, took in seconds.items() if name and took is not None}


def cover(notebook: gate.Notebook) -> str | None:
    """The figure of an executed chapter that its metadata ``sgd_book.cover`` names, as SVG.

    Kept in the repository, so that a page outside the book can show it; a comment says what made it.

    Raises:
        ValueError: there is no such figure, or it is not SVG.
    """
    name = notebook["metadata"].get("sgd_book", {}).get("cover")
    if name is None:
        return None
    figure = gate.figures(notebook).get(name)
    if figure is None or gate.SVG_MIME not in figure["data"]:
        raise ValueError(f"cover: got {name!r}, wanted the name of an SVG figure of the chapter")
    made = json.dumps(gate.records(notebook, gate.STAMP_MIME)[0], ensure_ascii=False)
    return f"{''.join(figure['data'][gate.SVG_MIME]).rstrip()}\n<!-- {made.replace('--', '- -')} -->\n"


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recorded file and its provenance, both empty when there is none; ValueError when it is not JSON."""
    try:
        content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    made = content.pop(PROVENANCE, {})
    return content, made


def write(path: Path, content: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Write a recorded file, with what made it, whole or not at all."""
    text = json.dumps({**content, PROVENANCE: made}, indent=1, ensure_ascii=False) + "\n"
    store.put(path, text.encode())


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple]:
    """Verdicts, as from `verdicts`, that are not the recorded ones: changed, new, or gone.

    Returns:
        Of each (chapter, claim, verdict recorded, verdict found), in their order; None for no verdict.
    """
    found = []
    for chapter in sorted({*before, *now}):
        old, new = before.get(chapter, {}), now.get(chapter, {})
        for claim in {**new, **old}:
            was, is_now = (side.get(claim, {}).get("verdict") for side in (old, new))
            if was != is_now:
                found.append((chapter, claim, was, is_now))
    return found


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Rows as lines of text in columns."""
    texts = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[k]) for row in texts) for k in range(len(head))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in texts)
    return "\n".join(line.rstrip() for line in lines)
