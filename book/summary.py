"""What came out of a sweep: a table of all runs as CSV and JSON, and a page of its own with a figure."""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from book import gate
from lib.page import claims, plot, provenance
from lib.page.text import table

_LINES = 6  # at most in one panel; more are told apart better on a map
_PANELS = 6
_TOLD = 12  # runs that the figure's description lists one by one
_TICK_GAP = 0.12  # of an axis
_LOG_SPAN = 30  # values that lie further apart by this factor are drawn on a logarithmic axis
_CELL = {"holds": "✓ holds", "fails": "✗ fails", "undecided": "? undecided", "out of range": "– out of range"}


# ---- one run ---------------------------------------------------------------------------------------------


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
    stated, stamps = gate.records(found, gate.CLAIMS_MIME), gate.records(found, provenance.STAMP_MIME)
    return {
        "run": number,
        "parameters": dict(parameters),
        "status": status,
        "reason": reason,
        "seconds": seconds,
        "notebook": place,
        "claims": stated[0]["claims"] if stated else [],
        "values": glued(found),
        "stamp": stamps[0] if stamps else None,
    }


def glued(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and texts that an executed chapter keeps for its prose, by name."""
    values = {}
    for _, output in gate.outputs(notebook):
        name = output.get("metadata", {}).get("scrapbook", {}).get("name")
        texts = [text for mime, text in output.get("data", {}).items() if mime.endswith("text/plain")]
        if name and texts:
            text = "".join(texts[0])
            try:
                values[name] = int(text) if text.lstrip("-").isdigit() else float(text)
            except ValueError:
                values[name] = text.strip("'\"")
    return values


def measures(notebook: Mapping[str, Any]) -> list[str]:
    """What can be drawn of an executed chapter: its claims, then its numbers."""
    return _measures(record(0, {}, "done", notebook))


def _measures(run: Mapping[str, Any]) -> list[str]:
    numbers = [name for name, value in run["values"].items() if not isinstance(value, str)]
    return [claim["id"] for claim in run["claims"]] + numbers


def measured(run: Mapping[str, Any], measure: str) -> tuple[float, float, float] | None:
    """Value and interval of a claim or number in one run; None where the run has none.

    A number without an interval has its value twice.
    """
    for claim in run["claims"]:
        if claim["id"] == measure:
            return None if claim["value"] is None else (claim["value"], *claim["interval"])
    value = run["values"].get(measure)
    if value is None or isinstance(value, str):
        return None
    low, high = (run["values"].get(measure + end, value) for end in ("_low", "_high"))
    return value, low, high


def shown(value: Any) -> str:
    """A parameter's value as text."""
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---- table -----------------------------------------------------------------------------------------------


def as_json(made: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """The sweep and all its runs in full, each with the stamp of what made it."""
    return json.dumps({**made, "runs": list(runs)}, indent=1, ensure_ascii=False) + "\n"


def as_csv(made: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """A line for each run: parameters (those that differ first), status, and what each claim came to."""
    ids = list(dict.fromkeys(claim["id"] for run in runs for claim in run["claims"]))
    names = list(dict.fromkeys([*made["swept"], *runs[0]["parameters"]]))
    parts = ("verdict", "value", "low", "high", "n")
    own = made["measure"] if made["measure"] and made["measure"] not in ids else None
    head = [
        "run",
        *names,
        "status",
        "seconds",
        "reason",
        *([own, f"{own}.low", f"{own}.high"] if own else []),
    ]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head + [f"{claim}.{part}" for claim in ids for part in parts])
    for run in runs:
        values = [run["parameters"][name] for name in names]
        row = [run["run"], *(json.dumps(v) if isinstance(v, list) else v for v in values)]
        row += [run["status"], run["seconds"], run["reason"]]
        row += list(measured(run, own) or ("", "", "")) if own else []
        found = {claim["id"]: claim for claim in run["claims"]}
        for claim in ids:
            one = found.get(claim)
            row += ["", "", "", "", ""] if one is None else _flat(one)
        table.writerow(row)
    return text.getvalue()


def _flat(claim: Mapping[str, Any]) -> list[Any]:
    return [claim["verdict"], claim["value"], *(claim["interval"] or (None, None)), claim["n"]]


# ---- figure ----------------------------------------------------------------------------------------------


def figure(
    measure: str, units: Mapping[str, str], runs: Sequence[Mapping[str, Any]]
) -> tuple[str, str, str] | None:
    """A picture of a measure over the swept parameters.

    One parameter: a line. Two, all combinations: lines, or a map where there are many of both. Three, all
    combinations: panels of lines. Else a panel for each parameter, with all runs in each.

    Args:
        measure: a claim or number.
        units: of the parameters that differ, by name; ``1`` is not shown.
        runs: records of all runs.

    Returns:
        SVG, caption and description; None when no run has the measure.
    """
    points = [(run["parameters"], found) for run in runs if (found := measured(run, measure)) is not None]
    if not points:
        return None
    claim = next((c for run in runs for c in run["claims"] if c["id"] == measure), None)
    swept, levels = list(units), {name: _levels(name, runs) for name in units}
    # a line or panel needs one value of each other parameter; the one with most values goes along the axis
    order = sorted(swept, key=lambda name: (len(levels[name]), _numeric(levels[name])), reverse=True)
    full = len(runs) == np.prod([len(values) for values in levels.values()] or [1])
    label = f"{measure} [{claim['unit']}]" if claim else measure
    labels = {name: name if unit in ("1", "text") else f"{name} [{unit}]" for name, unit in units.items()}
    if len(order) == 2 and full and len(levels[order[1]]) > _LINES:
        fig, how = _map(points, levels, labels, label), "Colour: the measure."
    elif len(order) <= 3 and full and all(len(levels[name]) <= _LINES for name in order[1:]):
        fig, how = _lines(points, levels, order, labels, label, claim), _how(order)
    else:
        fig, how = (
            _panels(points, levels, order[:_PANELS], labels, label, claim),
            "Each panel shows all runs.",
        )
        if len(order) > _PANELS:
            how += f" Not drawn: {', '.join(order[_PANELS:])}."
    drawing = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "sweep", "svg.fonttype": "path"}):  # the same bytes each time
        fig.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    plt.close(fig)
    missing = len(runs) - len(points)
    caption = f"{measure}" + (f": {claim['statement'].rstrip('.')}" if claim else "") + f". {how}"
    if how != "Colour: the measure.":
        bars = any(low < high for _, (_, low, high) in points)
        caption += " Bars are the intervals of the runs." if bars else ""
        caption += " Grey: what the claim accepts." if claim else ""
    caption += f" {missing} run(s) have no value." if missing else ""
    return drawing.getvalue().decode(), caption, _alt(label, points, swept, missing)


def _how(order: Sequence[str]) -> str:
    words = f"Along {order[0]}" if order else "One run"
    words += f", a line for each {order[1]}" if len(order) > 1 else ""
    return words + (f", a panel for each {order[2]}." if len(order) > 2 else ".")


def _levels(name: str, runs: Sequence[Mapping[str, Any]]) -> list[Any]:
    values = {json.dumps(run["parameters"][name]): run["parameters"][name] for run in runs}
    ordered = list(values.values())
    return sorted(ordered) if _numeric(ordered) or all(isinstance(v, str) for v in ordered) else ordered


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _axis(ax: Any, label: str, levels: Sequence[Any]) -> Any:
    """Prepare an axis along a parameter; gives where a value lies on it."""
    ax.set_xlabel(label)
    if not _numeric(levels) or len(levels) == 1:
        ax.set_xticks(range(len(levels)), [shown(value) for value in levels])
        ax.set_xlim(-0.5, len(levels) - 0.5)
        return levels.index
    log = levels[0] > 0 and levels[-1] / levels[0] >= _LOG_SPAN
    places = np.log(levels) if log else np.array(levels, dtype=float)
    if log:
        ax.set_xscale("log")
    if np.diff(places).min() >= _TICK_GAP * np.ptp(places):  # each value has room for its name
        ax.set_xticks(levels, [shown(value) for value in levels])
        ax.set_xticks([], minor=True)
    return float


def _accepted(ax: Any, claim: Mapping[str, Any] | None) -> None:
    """The range that a claim accepts, where it lies within what is drawn."""
    if claim is None:
        return
    bottom, top = ax.get_ylim()
    low = bottom if claim["low"] is None else claim["low"]
    high = top if claim["high"] is None else claim["high"]
    if low <= top and high >= bottom:
        ends = max(low, bottom), min(high, top)
        ax.axhspan(*ends, color=plot.FAINT, alpha=0.2, linewidth=0, zorder=0)
    ax.set_ylim(bottom, top)


def _draw(ax: Any, where: Any, name: str, points: Sequence, color: Any, form: str) -> tuple[float, float]:
    """Points with intervals along a parameter; gives the last one."""
    ordered = sorted((where(parameters[name]), *found) for parameters, found in points)
    x, value, low, high = np.array(ordered, dtype=float).T
    ax.errorbar(x, value, yerr=[value - low, high - value], fmt=form, color=color, capsize=3)
    return x[-1], value[-1]


def _lines(
    points: Sequence, levels: Mapping, order: Sequence[str], labels: Mapping, label: str, claim: Any
) -> Any:
    along, colored, paneled = [*order, None, None, None][:3]
    panels = levels[paneled] if paneled else [None]
    fig, axes = plot.figure(
        7.2 if len(panels) < 3 else 3.1 * len(panels), 3.9, len(panels), sharey=True, squeeze=False
    )
    for ax, panel in zip(axes[0], panels, strict=True):
        shown_here = [p for p in points if paneled is None or p[0][paneled] == panel]
        if along is None:
            where, along_name = (lambda value: 0.0), next(iter(points[0][0]))
            ax.set_xticks([])
        else:
            where, along_name = _axis(ax, labels[along], levels[along]), along
        if paneled:
            ax.set_title(f"{paneled} {shown(panel)}", fontsize=11)
        form = "o-" if along and _numeric(levels[along]) else "o"
        ends = []
        for color, value in zip(plot.PALETTE, levels[colored] if colored else [None], strict=False):
            own = [p for p in shown_here if colored is None or p[0][colored] == value]
            if own:
                x, y = _draw(ax, where, along_name, own, color, form)
                ends.append((y, f"{colored} {shown(value)}", color))
        ax.margins(y=0.15)
        _accepted(ax, claim)
        if colored and ends:
            plot.ends(ax, x, ends)
    axes[0][0].set_ylabel(label)
    return fig


def _map(points: Sequence, levels: Mapping, labels: Mapping, label: str) -> Any:
    across, down = labels
    grid = np.full((len(levels[down]), len(levels[across])), np.nan)
    for parameters, (value, _, _) in points:
        grid[levels[down].index(parameters[down]), levels[across].index(parameters[across])] = value
    fig, ax = plot.figure(7.2, 4.8)
    shades = ax.pcolormesh(grid, cmap="cividis", edgecolors="white", linewidth=0.5)
    ax.set_xticks(np.arange(len(levels[across])) + 0.5, map(shown, levels[across]), rotation=45, ha="right")
    ax.set_yticks(np.arange(len(levels[down])) + 0.5, map(shown, levels[down]))
    ax.set(xlabel=labels[across], ylabel=labels[down])
    fig.colorbar(shades, ax=ax, label=label)
    return fig


def _panels(
    points: Sequence, levels: Mapping, names: Sequence[str], labels: Mapping, label: str, claim: Any
) -> Any:
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    fig, axes = plot.figure(max(4.2, 3.2 * columns), 3.2 * rows, columns, rows, sharey=True, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        _draw(ax, _axis(ax, labels[name], levels[name]), name, points, plot.PALETTE[0], "o")
        ax.margins(y=0.15)
    for ax in axes.flat[: len(names)]:
        _accepted(ax, claim)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for row in axes:
        row[0].set_ylabel(label)
    return fig


def _told(point: Any, swept: Sequence[str]) -> str:
    parameters, (value, *interval) = point
    number, span = claims.shown(value, interval)
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

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --ground: #fff; --line: #d0d0d0; --soft: #f4f4f4;
  --holds: #00694b; --fails: #a63a00; --link: #0b57a4 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --ground: #16181b; --line: #43474d;
  --soft: #22262b; --holds: #55c79c; --fails: #f0955c; --link: #8ab8f0 } }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground) }
main { max-width: 62rem; margin: 0 auto; padding: 1rem }
a { color: var(--link) }
h1, td, th, p, li { overflow-wrap: anywhere }
figure { margin: 1.5rem 0 } figure img { max-width: 100%; height: auto; background: #fff; padding: .5rem;
  box-sizing: border-box; border-radius: 4px } figcaption { font-size: .9rem }
.sgd-scroll { border: 1px solid var(--line); border-radius: 4px; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .875rem; width: 100% }
caption { text-align: left; font-weight: 600; padding: .5rem .6rem }
th, td { padding: .3rem .6rem; text-align: left; border-top: 1px solid var(--line); overflow-wrap: normal;
  vertical-align: top } td { min-width: 4rem } thead th { background: var(--soft); vertical-align: bottom }
.verdict-holds { color: var(--holds) } .verdict-fails, .run-failed { color: var(--fails); font-weight: 600 }
"""


def html(made: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """The page: how far the sweep is, the figure, the verdicts and values of all runs, what made them.

    Args:
        made: chapter, base scale, swept parameters (units by name) and measure of the sweep.
        runs: records of all runs.

    Returns:
        HTML that fetches nothing, all text escaped.
    """
    ids = list(dict.fromkeys(claim["id"] for run in runs for claim in run["claims"]))
    measure = made["measure"] or (ids[0] if ids else None)
    done, failed = (sum(run["status"] == state for run in runs) for state in ("done", "failed"))
    title = f"Sweep of {made['chapter']}"
    answer = f"{done} of {len(runs)} runs done" + (f", {failed} failed" if failed else "") + "."
    drawn = figure(measure, made["swept"], runs) if measure else None
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{answer} {escape(_base(made, runs))}</p>"]
    if drawn:
        content, caption, alt = drawn
        source = f"data:image/svg+xml;base64,{base64.b64encode(content.encode()).decode()}"
        parts.append(
            f'<figure><img src="{source}" alt="{escape(alt)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    elif measure:
        parts.append(f"<p>No run has a value of {escape(measure)} yet.</p>")
    parts.append(_verdicts(ids, runs))
    parts.append(_table(made, measure, ids, runs))
    parts.append(_failures(runs))
    parts.append(
        '<p>The same as a table: <a href="results.csv">results.csv</a>. With the full records, what made'
    )
    parts.append('each run among them: <a href="results.json">results.json</a>.</p>')
    parts.append(_stamps(runs))
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _base(made: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    words = "Swept: " + (", ".join(made["swept"]) or "nothing, the runs have equal parameters") + "."
    if made["base"] != "full":
        words += f" At {made['base']} scale: a try of the machinery, no results."
    return words


def _verdicts(ids: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> str:
    """How many runs came to which verdict."""
    rows = []
    for name in ids:
        found = [claim["verdict"] for run in runs for claim in run["claims"] if claim["id"] == name]
        rows.append((name, *(str(found.count(word)) for word in claims.VERDICTS)))
    return table("sgd-counts", "Runs with each verdict", ("claim", *claims.VERDICTS), rows) if rows else ""


def _table(
    made: Mapping[str, Any], measure: str | None, ids: Sequence[str], runs: Sequence[Mapping[str, Any]]
) -> str:
    rows = []
    for run in runs:
        found, value = {claim["id"]: claim["verdict"] for claim in run["claims"]}, "–"
        if measure and (numbers := measured(run, measure)) is not None:
            number, span = claims.shown(numbers[0], numbers[1:])
            value = number if span == "exact" else f"{number} ({span})"
        words = [
            (_CELL[found[name]], f"verdict-{found[name].replace(' ', '-')}") if name in found else "–"
            for name in ids
        ]
        took = "–" if run["seconds"] is None else f"{run['seconds']:.1f}"
        parameters = [shown(run["parameters"][name]) for name in made["swept"]]
        state = (run["status"], f"run-{run['status'].replace(' ', '-')}")
        rows.append((str(run["run"]), *parameters, value, state, *words, took))
    columns = ("run", *made["swept"], measure or "measure", "status", *ids, "seconds")
    return table("sgd-runs", "All runs", columns, rows)


def _failures(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"<li>run {run['run']}: {escape(run['reason'])} "
        f'(<a href="{escape(run["notebook"])}">notebook</a>)</li>'
        for run in runs
        if run["status"] == "failed"
    ]
    return "<h2>Failed runs</h2>\n<ul>\n" + "\n".join(lines) + "\n</ul>" if lines else ""


def _stamps(runs: Sequence[Mapping[str, Any]]) -> str:
    """What made the runs; several values where they differ."""
    stamps = [run["stamp"] for run in runs if run["stamp"]]
    if not stamps:
        return ""
    rows = []
    for what, name in (("commit", "commit"), ("data", "data_sha256"), ("processor", "processor")):
        rows.append((what, ", ".join(dict.fromkeys(str(stamp[name]) for stamp in stamps))))
    for package in dict.fromkeys(name for stamp in stamps for name in stamp["versions"]):
        rows.append(
            (package, ", ".join(dict.fromkeys(stamp["versions"].get(package, "–") for stamp in stamps)))
        )
    first, last = (choose(stamp["started"] for stamp in stamps) for choose in (min, max))
    rows.append(("started", first if first == last else f"{first} to {last}"))
    return table("sgd-stamp", "What made these runs", ("what", "value"), rows)
