"""Typed parameters: read from a notebook's parameters cell, and strict about what is given for them.

A parameters cell holds one parameter a line:

    networks: int = 500  # networks trained in each arm [networks; 2 to 100000]
    rate: float = 0.01  # learning rate [1; above 0 to 10]
    loss: str = "sum"  # how a batch is reduced [name; one of sum, mean]
    wide: bool = False  # whether the first layer is shared [yes or no]

so the line that sets a default is the line that documents it and the line that bounds it. Types are
``int, float, str, bool, list[int], list[float], list[str]``; for a list, the range holds for each element.
"""

import ast
import builtins
import difflib
import json
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lib.page.cells import choose
from lib.page.text import grid, names, said

# Of each chapter the text of its parameters cell, as it is committed: a person edits the cell, so the cell
# cannot tell what was changed. It goes wherever the library is, so that a notebook alone is strict as well.
DEFAULTS = Path(__file__).with_name("defaults")
TYPES = ("int", "float", "str", "bool", "list[int]", "list[float]", "list[str]")
_COMMENT = re.compile(r"#\s*(?P<meaning>[^\[\]]*[^\[\]\s])\s+\[(?P<unit>[^\[\];]+)(;(?P<range>[^\[\];]+))?\]")
_RANGE = re.compile(r"(?P<above>above )?(?P<low>\S+) to (?P<high>\S+)")
_BOOLS = {"true": True, "yes": True, "false": False, "no": False}
_PAPERMILL = {"PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"}  # set by papermill --inject-paths


class ParameterError(ValueError):
    """A parameter, or a line of the parameters cell, that is refused; shown without a stack in notebooks."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Param(NamedTuple):
    """One parameter.

    Attributes:
        name: its name in the notebook.
        type: one of ``TYPES``.
        default: value when nothing is given; a tuple for a list.
        meaning: what it is, in words.
        unit: of the value, or of each element.
        low: smallest value allowed, None when unbounded.
        high: largest value allowed, None when unbounded.
        open_low: whether ``low`` itself is excluded.
        choices: the only values allowed, empty when any is.
    """

    name: str
    type: str
    default: Any
    meaning: str
    unit: str
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    choices: tuple = ()

    @property
    def element(self) -> str:
        """Type of the value, or of each element of a list."""
        return self.type.removeprefix("list[").removesuffix("]")

    @property
    def allowed(self) -> str:
        """What may be given, in words, with the unit."""
        if self.choices:
            words = f"one of {', '.join(map(str, self.choices))}"
        elif self.low is not None:
            words = f"{self.element}, {'above ' * self.open_low}{self.low:.15g} to {self.high:.15g}"
        else:
            words = {"bool": "true or false", "str": "any text"}[self.element]
        words += "" if self.type == "bool" else f" [{self.unit}]"
        return words if self.type == self.element else f"list of at least one element, each {words}"


def _scalar(kind: str, value: object) -> Any:
    """Value as ``kind``; ValueError, OverflowError or KeyError when it cannot be that."""
    text, flag = isinstance(value, str), isinstance(value, bool)
    if kind == "str" and text:
        return str(value)
    if kind == "bool" and (text or flag):
        return value if flag else _BOOLS[value.strip().lower()]
    if kind in ("str", "bool") or flag or not (text or isinstance(value, numbers.Real)):
        raise ValueError
    whole = re.fullmatch(r"\s*[+-]?\d+\s*", value) if text else isinstance(value, numbers.Integral)
    if kind == "int" and whole:
        return int(value)
    number = float(value)
    if kind == "int" and number.is_integer():  # 1e3 is how people write a thousand steps
        return int(number)
    if kind == "float" and math.isfinite(number):
        return number
    raise ValueError


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _coerce(param: Param, value: object) -> Any:
    """Value as the parameter's type and within its range; ValueError with the reason otherwise."""
    kind, elements = param.element, [value]
    if param.type != kind:
        elements = _listed(value)
        if isinstance(value, str):
            with suppress(SyntaxError, ValueError, MemoryError, RecursionError):
                elements = ast.literal_eval(value)
        if not isinstance(elements, list) or not elements:
            raise ValueError(f"{param.name}: got {_short(value)}, allowed: {param.allowed}")
    done = []
    for position, element in enumerate(elements, 1):
        where = f" (element {position} of {_short(value)})" if param.type != kind else ""
        try:
            number = _scalar(kind, element)
        except (ValueError, OverflowError, KeyError):
            hint = f"; with papermill, -r {param.name} {element} passes text" if kind == "str" else ""
            got = f"{_short(element)} of type {type(element).__name__}{where}"
            raise ValueError(f"{param.name}: got {got}, allowed: {param.allowed}{hint}") from None
        inside = param.low is None or param.low <= number <= param.high
        if not inside or param.open_low and number == param.low or number not in (param.choices or [number]):
            raise ValueError(f"{param.name}: got {_short(element)}{where}, allowed: {param.allowed}")
        done.append(number)
    return done if param.type != kind else done[0]


def _line(node: ast.stmt, text: str) -> Param:
    """The parameter that a statement sets on its line; ValueError with the reason when it sets none."""
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
        raise ValueError("wanted  name: type = value  # meaning [unit; range]")
    if node.lineno != node.end_lineno or text.count("=") != 1 or text.count("#") > 1:
        raise ValueError("wanted all on one line, with no second '=' or '#' (papermill reads no other)")
    name, kind = node.target.id, ast.unparse(node.annotation)
    if name.startswith("_") or hasattr(builtins, name) or hasattr(Parameters, name) or name == "chapter":
        raise ValueError(f"{name} is not free to be a parameter's name")
    if kind not in TYPES:
        raise ValueError(f"type {kind}, wanted one of {', '.join(TYPES)}")
    found = _COMMENT.fullmatch("#" + text.partition("#")[2].strip())
    if not found:
        raise ValueError("wanted a comment  # meaning [unit; range]  at its end")
    param = Param(name, kind, None, found["meaning"], found["unit"].strip())
    element, bounds = param.element, (found["range"] or "").strip()
    if element == "bool" and (param.unit, bounds) != ("yes or no", ""):
        raise ValueError("a bool wants [yes or no]")
    try:
        if bounds.startswith("one of "):
            words = bounds.removeprefix("one of ").split(",")
            param = param._replace(choices=tuple(_scalar(element, word.strip()) for word in words))
            if "" in param.choices:
                raise ValueError
        elif bounds or element in ("int", "float"):
            found = _RANGE.fullmatch(bounds)
            low, high = (_scalar(element, found[end]) for end in ("low", "high"))
            param = param._replace(low=low, high=high, open_low=bool(found["above"]))
            if element == "str" or low > high:
                raise ValueError
    except (TypeError, ValueError, OverflowError):
        wanted = "'one of a, b'" if element == "str" else "'A to B', 'above A to B' or 'one of A, B'"
        raise ValueError(f"range {bounds!r}, wanted {wanted} with values of type {element}") from None
    try:
        default = ast.literal_eval(node.value)
    except ValueError:
        raise ValueError(f"default {ast.unparse(node.value)}, wanted a literal value") from None
    if element != "str" and any(isinstance(getattr(part, "value", 0), str) for part in ast.walk(node.value)):
        raise ValueError(f"default {default!r} is text, wanted {kind}")
    default = _coerce(param, default)
    return param._replace(default=tuple(default) if isinstance(default, list) else default)


def read(source: str) -> tuple[Param, ...]:
    """Parameters of the text of a parameters cell, in its order.

    Raises:
        ParameterError: naming the first line that is not ``name: type = literal  # meaning [unit; range]``,
            or whose default is not allowed by its own range.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ParameterError(f"parameters cell: {error}") from None
    lines, params = source.split("\n"), {}
    for node in body:
        text = lines[node.lineno - 1]
        try:
            param = _line(node, text)
            if param.name in params:
                raise ValueError(f"{param.name} is set twice")
        except ValueError as error:
            where = f"parameters cell, line {node.lineno}"
            raise ParameterError(f"{where}: {error}; got: {text.strip()}") from None
        params[param.name] = param
    if not params:
        raise ParameterError("parameters cell: no parameter in it, wanted at least one")
    return tuple(params.values())


def cell(notebook: Path) -> str:
    """Text of a notebook's one code cell tagged ``parameters``; nothing is executed.

    Raises:
        ParameterError: when the file is no notebook, has no such cell or several.
    """
    notebook = Path(notebook)
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ParameterError(f"{notebook.name}: not a notebook of format 4") from None
    if len(tagged) != 1 or tagged[0].get("cell_type") != "code":
        found = f"{len(tagged)} cells tagged 'parameters'"
        raise ParameterError(f"{notebook.name}: {found}, wanted one code cell")
    return "".join(tagged[0]["source"])


def schema(notebook: Path) -> tuple[Param, ...]:
    """Parameters of a notebook, from its parameters cell, in its order.

    Raises:
        ParameterError: as `cell` does, or when the cell is malformed.
    """
    source = cell(notebook)
    try:
        return read(source)
    except ParameterError as error:
        raise ParameterError(f"{Path(notebook).name}: {error}") from None


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def check(schema: Sequence[Param], given: Mapping[str, object]) -> dict[str, Any]:
    """All parameters of a run by name, in the order of the schema: those given as their types, else defaults.

    Text is taken for what it says, since papermill passes text: ``"false"``, ``"1e-3"``, ``"[1, 2]"``.

    Raises:
        ParameterError: listing every unknown name (with the names that come closest) and every value that
            has the wrong type, is not finite, or is out of range.
    """
    values = {p.name: _listed(p.default) for p in schema}
    faults, params = [], {p.name: p for p in schema}
    for name, value in given.items():
        if name not in params:
            close = difflib.get_close_matches(str(name), values)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            faults.append(f"{name}: no such parameter{hint} (there are {', '.join(values)})")
            continue
        try:
            values[name] = _coerce(params[name], value)
        except ValueError as error:
            faults.append(str(error))
    if len(faults) > 1:
        raise ParameterError(f"{len(faults)} parameters refused\n" + "\n".join(f"  {f}" for f in faults))
    if faults:
        raise ParameterError(faults[0])
    return values


class Parameters:
    """Read-only record of a run's parameters: one attribute for each; lists come as tuples."""

    def __init__(self, schema: Sequence[Param], values: Mapping[str, Any], chapter: str = "chapter") -> None:
        """Takes what ``check`` returned for ``schema``, and the chapter's name."""
        self.__dict__.update(_schema=tuple(schema), chapter=chapter)
        for name, value in values.items():
            self.__dict__[name] = tuple(value) if isinstance(value, list) else value

    def __setattr__(self, name: str, value: object = None) -> None:
        """Refuses: a record of what ran does not change."""
        raise AttributeError(f"{name}: parameters are read-only; change the parameters cell")

    __delattr__ = __setattr__

    @property
    def overridden(self) -> tuple[str, ...]:
        """Names whose value differs from the default."""
        return tuple(p.name for p in self._schema if self.__dict__[p.name] != p.default)

    def asdict(self) -> dict[str, Any]:
        """Values by name, ready for JSON."""
        return {p.name: _listed(self.__dict__[p.name]) for p in self._schema}

    def __repr__(self) -> str:
        """Names and values, on one line."""
        return "Parameters(" + ", ".join(f"{name}={value!r}" for name, value in self.asdict().items()) + ")"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if not self.overridden:
            return said(f"All {len(self._schema)} parameters are at their defaults.")
        rows = [
            (p.name, (_shown(self.__dict__[p.name]), "sgd-changed"), _shown(p.default), p.unit, p.meaning)
            for p in self._schema
            if p.name in self.overridden
        ]
        columns = ("parameter", "value", "default", "unit", "meaning")
        told = f"Changed in this run, of {len(self._schema)} parameters"
        return {"text/html": grid("sgd-params", told, columns, rows), "text/plain": repr(self)}


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


# ---- in a notebook ---------------------------------------------------------------------------------------


def take(chapter: str, namespace: Mapping[str, Any] | None = None) -> Parameters:
    """Record of the checked parameters of the notebook that calls this, after its parameters cell has run.

    Values are those that the names have now, whoever gave them: the cell, a person who edited it, or a cell
    that papermill injected. What differs from the kept defaults is changed.

    Args:
        chapter: name of the chapter's file without its ending.
        namespace: the notebook's variables, with its history ``In``; those of the running kernel if None.

    Raises:
        ParameterError: as ``check`` does, also for names that the parameters cell sets and the chapter does
            not have; for parameters that are not set; for a chapter whose defaults are not kept; and where
            the notebook is one of another checkout than this library.
    """
    if namespace is None:
        namespace = names()
        _check_checkout(Path.cwd())
    kept = DEFAULTS / f"{chapter}.txt"
    if not kept.is_file():
        there = ", ".join(sorted(path.stem for path in DEFAULTS.glob("*.txt")))
        raise ParameterError(f"chapter: got {chapter!r}, wanted one whose defaults are kept: {there}")
    params = read(kept.read_text("utf-8"))
    given = {p.name: namespace[p.name] for p in params if p.name in namespace}
    known, extra = {p.name for p in params}, []
    for cell in namespace.get("In", ()):
        whole, found = _set(cell, known)
        extra = found if whole else extra + found  # what an older cell set may be mended by now
    taken = Parameters(params, check(params, dict.fromkeys(extra) | given), chapter)
    if missing := [name for name in taken.asdict() if name not in given]:
        raise ParameterError(f"{', '.join(missing)}: not set, run the parameters cell first")
    choose(getattr(taken, "part", "all"))
    return taken


def _set(cell: str, known: set[str]) -> tuple[bool, list[str]]:
    """Whether a cell is the one of parameters, and the names it sets if it is that or one of papermill's."""
    try:
        body = ast.parse(cell).body
    except SyntaxError:
        return False, []
    targets = [t for node in body for t in getattr(node, "targets", [getattr(node, "target", None)])]
    found = [t.id for t in targets if isinstance(t, ast.Name) and t.id not in _PAPERMILL]
    annotated = {ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)}
    plain = all(isinstance(n, ast.Assign | ast.AnnAssign | ast.Expr) for n in body)
    whole = plain and not known.isdisjoint(annotated)
    return whole, found if whole or cell.startswith("# Parameters") else []


def _check_checkout(here: Path) -> None:
    """ParameterError where a notebook in a checkout of the book gets another library than that one's."""
    for folder in (here, *here.parents):
        own = folder / "lib" / "page" / "params.py"
        if (folder / "_toc.yml").is_file() and own.is_file():
            if not own.samefile(__file__):
                ours = Path(__file__).resolve().parents[2]
                raise ParameterError(
                    f"lib is that of {ours}, and this notebook stands in {folder}: "
                    f"start the kernel in {folder}, or install its library: pip install -e {folder}"
                )
            return
