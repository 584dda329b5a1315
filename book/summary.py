"""What came out of a sweep: a table of all runs as CSV and JSON, and a page of its own with a figure."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from book import gate
from lib import stats
from lib.page import claims
from lib.page.figures import FAINT, svg

_FEW = 6  # values of a parameter, at most, for a colour or a panel each
_TOLD = 12  # runs that the figure's description lists one by one
_LOG_SPAN = 30  # values that lie further apart by this factor are drawn on a logarithmic axis
_MARKS = {"holds": "✓", "fails": "✗", "undecided": "?", "out of range": "–"}
_PAGE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    Path(__file__).with_suffix(".html").read_text("utf-8")
)

Record = Mapping[str, Any]


def record(
    number: int,
    parameters: Mapping[str, Any],
    status: str,
    notebook: Mapping[str, Any] | None = None,
    place: str | None = None,
    reason: str = "",
    seconds: float | None = None,
) -> dict[str, Any]:
    """All that is kept of one run, ready for JSON.

    Args:
        number: of the run.
        parameters: values of all parameters.
        status: ``done``, ``failed`` or ``not run``.
        notebook: what was executed, as nested dicts.
        place: where it is kept, relative to the sweep's folder.
        reason: why the run failed.
        seconds: that it took.
    """
    found = notebook if notebook is not None and status == "done" else {"cells": []}
    stated, stamps = gate.records(found, gate.CLAIMS_MIME), gate.records(found, gate.STAMP_MIME)
    return {
        "run": number,
        "parameters": dict(parameters),
        "status": status,
        "reason": reason,
        "seconds": seconds,
        "notebook": place,
        "claims": stated[0]["claims"] if stated else [],
        "values": {name: v for _, text in gate.filled(found) for name, v in text["values"].items()},
        "stamp": stamps[0] if stamps else None,
    }


def measures(notebook: Mapping[str, Any]) -> list[str]:
    """What can be drawn of an executed chapter: its claims, then its numbers."""
    run = record(0, {}, "done", notebook)
    numbers = [name for name, value in run["values"].items() if not isinstance(value, str)]
    return [claim["id"] for claim in run["claims"]] + numbers


def measured(run: Record, measure: str) -> tuple[float, float, float] | None:
    """Value and interval of a claim or number in one run; None where the run has none.

    A number without an interval has its value twice.
    """
    for claim in run["claims"]:
        if claim["id"] == measure:
            return None if claim["value"] is None else (claim["value"], *claim["interval"])
    value = run["values"].get(measure)
    if value is None or isinstance(value, str):
        return None
    return tuple(value[:3]) if isinstance(value, list) else (value, value, value)


def shown(value: Any) -> str:
    """A parameter's value as text."""
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def as_json(made: Mapping[str, Any], runs: Sequence[Record]) -> str:
    """The sweep and all its runs in full, each with the stamp of what made it."""
    return json.dumps({**made, "runs": list(runs)}, indent=1, ensure_ascii=False) + "\n"


def as_csv(made: Mapping[str, Any], runs: Sequence[Record]) -> str:
    """A line for each run: parameters (those that differ first), status, and what each claim came to.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    own, rows = made["measure"], []
    if any(claim["id"] == own for run in runs for claim in run["claims"]):
        own = None  # a claim has its columns anyway
    for run in runs:
        parameters = {name: run["parameters"][name] for name in (*made["swept"], *run["parameters"])}
        row = {name: json.dumps(v) if isinstance(v, list) else v for name, v in parameters.items()}
        row = {"run": run["run"], **row} | {name: run[name] for name in ("status", "seconds", "reason")}
        if own:
            numbers = measured(run, own) or (None, None, None)
            row |= dict(zip((own, f"{own}.low", f"{own}.high"), numbers, strict=True))
        for claim in run["claims"]:
            low, high = claim["interval"] or (None, None)
            found = {**claim, "low": low, "high": high}
            row |= {f"{claim['id']}.{part}": found[part] for part in ("verdict", "value", "low", "high", "n")}
        rows.append({name: _safe(value) for name, value in row.items()})
    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")


def _safe(value: Any) -> Any:
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


# ---- figure ----------------------------------------------------------------------------------------------


def figure(measure: str, units: Mapping[str, str], runs: Sequence[Record]) -> tuple[str, str, str] | None:
    """A picture of a measure over the swept parameters: along an axis, by colour, and by panel or size.

    The parameter with most values goes along the axis. All combinations of up to three are lines with the
    runs' intervals, anything else is points; a fourth parameter is not drawn. The measure is a claim or a
    number; the units are those of the parameters that differ, by name, of which ``1`` is not shown.

    Returns:
        SVG, caption and description; None when no run has the measure.
    """
    points = [(run["parameters"], found) for run in runs if (found := measured(run, measure)) is not None]
    if not points:
        return None
    claim = next((c for run in runs for c in run["claims"] if c["id"] == measure), None)
    label = f"{measure} [{claim['unit']}]" if claim else measure
    levels = {name: _levels([run["parameters"][name] for run in runs]) for name in units}
    order = sorted(units, key=lambda name: (len(levels[name]), _numeric(levels[name])), reverse=True)
    names = {name: name if units[name] in ("1", "text") else f"{name} [{units[name]}]" for name in order[:3]}
    roles = ("x", "hue", "col" if len(order) > 2 and len(levels[order[2]]) <= _FEW else "size")
    placed = dict(zip(roles, order, strict=False))
    full = len(order) <= 3 and "size" not in placed and len(runs) == math.prod(map(len, levels.values()))
    rows = []
    ordered = sorted(points, key=lambda point: [levels[name].index(point[0][name]) for name in order])
    for parameters, (value, low, high) in ordered:
        row = {names[n]: _drawn(parameters[n], levels[n], role) for role, n in placed.items()}
        # the median of the three is the value, and their range the interval
        rows += [{"": "", **row, label: y} for y in ((low, value, high) if full else (value,))]
    along = levels[order[0]] if order else [""]
    options: dict[str, Any] = {role: names[name] for role, name in placed.items()} or {"x": ""}
    if "hue" in options:
        few = len(levels[order[1]]) <= _FEW
        options["palette"] = "colorblind" if few else "viridis" if _numeric(levels[order[1]]) else "husl"
    if full:
        options |= {"kind": "line", "estimator": "median", "errorbar": ("pi", 100), "err_style": "bars"}
        options |= {"marker": "o", "linestyle": "-" if _numeric(along) else "", "err_kws": {"capsize": 3}}
    sns.set_theme(style="ticks", palette="colorblind")
    grid = sns.relplot(pd.DataFrame(rows), y=label, height=3.9, aspect=1.3, **options)
    if _numeric(along) and along[0] > 0 and along[-1] / along[0] >= _LOG_SPAN:
        grid.set(xscale="log")
    for ax in grid.axes.flat if claim else ():
        bottom, top = ax.get_ylim()
        low = bottom if claim["low"] is None else claim["low"]
        high = top if claim["high"] is None else claim["high"]
        if low <= top and high >= bottom:
            ax.axhspan(max(low, bottom), min(high, top), color=FAINT, alpha=0.2, linewidth=0, zorder=0)
        ax.set_ylim(bottom, top)
    drawing = svg(grid.figure, "sweep")
    plt.close(grid.figure)
    ways = {"x": "Along", "hue": "a colour for each", "col": "a panel for each", "size": "a size for each"}
    bars = full and any(low < high for _, (_, low, high) in points)
    missing = len(runs) - len(points)
    caption = f"{measure}: {claim['statement'].rstrip('.')}. " if claim else f"{measure}. "
    caption += (", ".join(f"{ways[role]} {name}" for role, name in placed.items()) or "One run") + "."
    caption += " Bars are the intervals of the runs." if bars else ""
    caption += " Grey: what the claim accepts." if claim else ""
    caption += f" Not drawn: {', '.join(order[3:])}." if order[3:] else ""
    caption += f" {missing} run(s) have no value." if missing else ""
    return drawing, caption, _alt(label, points, list(units), missing)


def _levels(values: Sequence[Any]) -> list[Any]:
    """Each value once; numbers and texts in order."""
    once = list({json.dumps(value): value for value in values}.values())
    return sorted(once) if _numeric(once) or all(isinstance(v, str) for v in once) else once


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _drawn(value: Any, levels: Sequence[Any], role: str) -> Any:
    """A value as seaborn shall take it: as a number on an axis or a scale, else as a word."""
    return value if _numeric(levels) and (role == "x" or len(levels) > _FEW) else shown(value)


def _told(point: Any, swept: Sequence[str]) -> str:
    parameters, (value, *interval) = point
    number, span = stats.shown(value, interval)
    at = ", ".join(f"{name} {shown(parameters[name])}" for name in swept)
    return number + (f" ({span})" if span != "exact" else "") + (f" at {at}" if at else "")


def _alt(label: str, points: Sequence, swept: Sequence[str], missing: int) -> str:
    if len(points) <= _TOLD:
        words = f"{label}: " + "; ".join(_told(point, swept) for point in points)
    else:
        least, most = (choose(points, key=lambda p: p[1][0]) for choose in (min, max))
        words = f"{label} of {len(points)} runs: lowest {_told(least, swept)}; highest {_told(most, swept)}"
    return words + (f"; {missing} runs have no value." if missing else ".")


# ---- page ------------------------------------------------------------------------------------------------


def html(made: Mapping[str, Any], runs: Sequence[Record]) -> str:
    """The page: how far the sweep is, the figure, the verdicts and values of all runs, what made them.

    The sweep was made of a chapter, a base scale, swept parameters (units by name) and a measure.

    Returns:
        HTML that fetches nothing, all text escaped.
    """
    found = [{claim["id"]: claim["verdict"] for claim in run["claims"]} for run in runs]
    ids = list(dict.fromkeys(name for verdicts in found for name in verdicts))
    measure = made["measure"] or (ids[0] if ids else None)
    drawn = figure(measure, made["swept"], runs) if measure else None
    if drawn:
        drawn = (base64.b64encode(drawn[0].encode()).decode(), *drawn[1:])
    rows = []
    for run, v in zip(runs, found, strict=True):
        numbers = measured(run, measure) if measure else None
        value = "–" if numbers is None else _told(({}, numbers), ())
        took = "–" if run["seconds"] is None else f"{run['seconds']:.1f}"
        parameters = [shown(run["parameters"][name]) for name in made["swept"]]
        marks = [f"{_MARKS[v[name]]} {v[name]}" if name in v else "–" for name in ids]
        rows.append((run["run"], *parameters, value, run["status"], *marks, took))
    counts = [(name, *([v.get(name) for v in found].count(word) for word in claims.VERDICTS)) for name in ids]
    return _PAGE.render(
        made=made,
        runs=runs,
        done=sum(run["status"] == "done" for run in runs),
        failed=[run for run in runs if run["status"] == "failed"],
        measure=measure,
        drawn=drawn,
        verdicts=("claim", *claims.VERDICTS),
        counts=counts,
        columns=("run", *made["swept"], measure or "measure", "status", *ids, "seconds"),
        rows=rows,
        stamps=_stamps([run["stamp"] for run in runs if run["stamp"]]),
    )


def _stamps(stamps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What made the runs; several values where they differ."""
    facts = [
        {"commit": s["commit"], "data": s["data_sha256"], "processor": s["processor"], **s["versions"]}
        for s in stamps
    ]
    rows = [
        (what, ", ".join(dict.fromkeys(str(fact.get(what, "–")) for fact in facts)))
        for what in dict.fromkeys(name for fact in facts for name in fact)
    ]
    started = sorted({stamp["started"] for stamp in stamps})
    return rows + ([("started", " to ".join(started[:: max(1, len(started) - 1)]))] if started else [])
