import json
import math
import pickle
from pathlib import Path

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from papermill.cli import papermill
from papermill.translators import translate_parameters

from lib.page import params
from lib.page.cells import left_out
from lib.page.params import ParameterError

ROOT = Path(__file__).resolve().parents[3]
CELL = """\
networks: int = 500  # networks trained in each arm [networks; 2 to 100000]
rate: float = 0.003  # learning rate [per step; above 0 to 10]
wide: bool = True  # whether the first layer is shared [yes or no]
sizes: list[int] = [100, 100]  # widths of the hidden layers [units; 1 to 1000]
rates: list[float] = [0.1]  # rates tried [per step; 0 to 1]
loss: str = "sum"  # how a batch is reduced [name; one of sum, mean]
label: str = "a"  # name of this run [text]
names: list[str] = ["x", "y"]  # arms shown [name; one of x, y, z]
power: int = 2  # exponent [number; one of 1, 2, 4]
"""
SCHEMA = params.read(CELL)
NAMES = {p.name: p.default for p in SCHEMA}


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory):
    """The defaults of two toy chapters, in place of the book's."""
    folder = tmp_path_factory.mktemp("defaults")
    (folder / "toy.txt").write_text(CELL)
    (folder / "parts.txt").write_text('part: str = "all"  # what to run [part; one of all, a, b]\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "DEFAULTS", folder)
        yield folder


def take(*cells, **names):
    """Takes the parameters of a notebook that ran these cells after its own, and has these names."""
    return params.take("toy", {"In": ["", CELL, *cells], **NAMES, **names})


def refused(**given):
    with pytest.raises(ParameterError) as caught:
        params.check(SCHEMA, given)
    return str(caught.value)


def test_read_gives_every_field():
    comment = "networks trained in each arm"
    assert SCHEMA[0] == ("networks", "int", 500, comment, "networks", 2, 100000, False, ())
    assert SCHEMA[1][4:] == ("per step", 0, 10, True, ())
    assert SCHEMA[2][4:] == ("yes or no", None, None, False, ())
    assert SCHEMA[3].default == (100, 100) and SCHEMA[3].element == "int"
    assert SCHEMA[5].choices == ("sum", "mean") and SCHEMA[6].choices == ()
    assert SCHEMA[8].choices == (1, 2, 4) and all(type(c) is int for c in SCHEMA[8].choices)
    (x,) = params.read("x: float = 1  # x [unit; above -1e-07 to 2.5e+08]")
    assert x[5:8] == (-1e-7, 2.5e8, True) and type(x.default) is float
    assert params.read(f"# the arms\n\n{CELL}") == SCHEMA


UNIT = "# x [unit; 0 to 2]"
MALFORMED = {
    "wanted  name: type = value": [f"{line}  {UNIT}" for line in (
        "x = 1", "x: int", "print('x')", "import os", "a.b: int = 1")],
    "wanted a comment": ["x: int = 1", *(f"x: int = 1  # {end}" for end in (
        "x", "[unit; 0 to 2]", "x []", "x [unit; 0 to 2] and more", "x [unit; 0 to 2; 3]"))],
    "range ''": ["x: int = 1  # x [unit]"],
    **{f"range '{ends}'": [f"x: {kind} = {value}  # x [unit; {ends}]"] for kind, value, ends in (
        ("float", 1.0, "0 to nan"), ("float", 1.0, "0 to inf"), ("int", 1, "2 to 0"), ("int", 1, "0.5 to 2"),
        ("int", 1, "below 2"), ("int", 1, "one of 1, b"), ("str", "'a'", "a to b"),
        ("str", "'a'", "one of a, , b"))},
    "[yes or no]": ["x: bool = True  # x [flag]", "x: bool = True  # x [yes or no; 0 to 1]"],
    "got 3, allowed: int, 0 to 2 [unit]": [f"x: int = 3  {UNIT}"],
    "got 0.0, allowed: float, above 0 to 2 [unit]": ["x: float = 0.0  # x [unit; above 0 to 2]"],
    "got 'c', allowed: one of a, b [name]": ["x: str = 'c'  # x [name; one of a, b]"],
    "list of at least one element": [f"x: list[int] = []  {UNIT}"],
    "got 5 (element 2 of [1, 5])": [f"x: list[int] = [1, 5]  {UNIT}"],
    "is text": [f"x: float = '1'  {UNIT}", f"x: list[int] = ['1']  {UNIT}", f"x: list[int] = '[1]'  {UNIT}"],
    "got True of type bool": [f"x: int = True  {UNIT}"],
    "got 1.5 of type float": [f"x: int = 1.5  {UNIT}"],
    "wanted a literal": [f"x: int = 1 + 1  {UNIT}", f"x: int = len('a')  {UNIT}"],
    "type dict": [f"x: dict = {{}}  {UNIT}"],
    "type list": [f"x: list = [1]  {UNIT}", "x: list[bool] = [True]  # x [yes or no]"],
    "second '='": [f"x: str = 'a{end} [text]" for end in ("=b'  # x", "'  # x = 2", "'  # x # y")],
    "all on one line": [f"x: int = 1; y: int = 2  {UNIT}", f"x: list[int] = [1,\n 2]  {UNIT}"],
    "not free": [f"{name}: int = 1  {UNIT}" for name in ("_x", "list", "asdict", "chapter")],
    "ok is set twice": [f"ok: int = 1  {UNIT}"],
}  # fmt: skip


@pytest.mark.parametrize("part, line", [(part, line) for part, lines in MALFORMED.items() for line in lines])
def test_read_refuses_and_names_the_line(part, line):
    with pytest.raises(ParameterError) as caught:
        params.read(f"# first\nok: int = 1  # fine [unit; 0 to 2]\n{line}\n")
    assert part in str(caught.value)
    assert "parameters cell, line 3: " in str(caught.value)


def test_read_refuses_an_empty_cell_and_broken_code():
    with pytest.raises(ParameterError, match="no parameter"):
        params.read("# nothing\n")
    with pytest.raises(ParameterError, match="line 1"):
        params.read("x: int = = 1")


def test_check_gives_defaults_in_order_and_fresh_lists():
    first, second = params.check(SCHEMA, {}), params.check(SCHEMA, {})
    assert list(first) == [p.name for p in SCHEMA]
    assert first["sizes"] == [100, 100]
    first["sizes"].append(1)
    assert second["sizes"] == [100, 100]


COERCED = {
    "networks": [(7, 7), (1e3, 1000), ("7", 7), ("1e3", 1000), (np.int64(7), 7), (np.float32(8), 8),
                 ("100000", 100000)],
    "rate": [(3, 3.0), (10, 10.0), ("1e-3", 1e-3), (np.float64(0.5), 0.5)],
    "wide": [(False, False), ("false", False), ("False", False), ("no", False), ("true", True)],
    "sizes": [([1, 1000], [1, 1000]), ((1, 2), [1, 2]), ("[1, 2]", [1, 2]), (["1", 1e1], [1, 10])],
    "rates": [("[1e-3, 1]", [0.001, 1.0]), (["1e-3"], [0.001])],
    "loss": [("mean", "mean")], "label": [("3", "3")], "names": [("['z']", ["z"])], "power": [("4", 4)],
}  # fmt: skip


@pytest.mark.parametrize("name, value, wanted", [(n, *pair) for n, ps in COERCED.items() for pair in ps])
def test_check_coerces(name, value, wanted):
    got = params.check(SCHEMA, {name: value})[name]
    assert got == wanted and type(got) is type(wanted)
    if isinstance(got, list):
        assert [type(v) for v in got] == [type(v) for v in wanted]


REFUSED = {
    "networks": (1, 0, -3, 100001, 2.5, "2.5", "many", "", None, True, "true", [3], math.nan, math.inf,
                 3 + 0j),
    "rate": (0, 0.0, -1, 10.1, math.nan, "nan", math.inf, "inf", "1e999", 10**400, False, None, [1.0]),
    "wide": (0, 1, "1", "maybe", None, [True], 0.0, np.array(True)),
    "sizes": ([], "[]", 3, "3", "1, 2,", "[1", "[[1]]", [0], [1, 1001], [1, None], {1: 2}, None, {1}),
    "rates": ([math.nan], "[nan]", [True], [-0.1], [[0.1]], np.array([0.1]), "__import__('os')"),
    "loss": ("max", "", 3, None, True, ["sum"]),
    "names": ("x", ["w"], ["x", 3], []),
    "power": (3, "3", True, 2.5),
}  # fmt: skip


@pytest.mark.parametrize("name, value", [(name, v) for name, values in REFUSED.items() for v in values])
def test_check_refuses_and_says_what_came_and_what_is_allowed(name, value):
    message = refused(**{name: value})
    param = next(p for p in SCHEMA if p.name == name)
    assert message.startswith(f"{name}: got ")
    assert f"allowed: {param.allowed}" in message
    assert f"[{param.unit}]" in message or param.type == "bool"
    assert "\n" not in message


def test_unknown_name_gives_the_closest_and_all():
    message = refused(networs=3)
    assert message.startswith("networs: no such parameter; did you mean networks?")
    assert all(p.name in message for p in SCHEMA)
    assert "did you mean" not in refused(qqqqq=1)


def test_all_faults_come_together():
    message = refused(networks=1, nope=2, sizes="[0]", rate=1)
    assert message.splitlines()[0] == "3 parameters refused"
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == ["networks", "nope", "sizes"]


def test_a_long_value_is_cut_in_the_error_and_a_number_for_text_says_how_to_pass_text():
    assert len(refused(sizes=[0] * 10000)) < 400
    assert "-r label 3" in refused(label=3)


WORDS = ["1e3", " 2 ", "٣", "0x3", "true", "NO", "sum", "x", "[1, 2]", "['x']", "[[1]]", "[]"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
SCALARS |= st.complex_numbers()
ANYTHING = st.recursive(
    SCALARS | st.integers(-5, 10).map(str) | st.floats().map(repr) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(repr)
    ),
    max_leaves=5,
)
KINDS = {"int": int, "float": float, "bool": bool, "str": str}


def obeys(param, value) -> bool:
    """Whether a value is of the parameter's type, finite, and within its range or among its choices."""
    many = param.type != param.element
    if many and (type(value) is not list or not value):
        return False
    return all(
        type(v) is KINDS[param.element]
        and (param.element != "float" or math.isfinite(v))
        and (param.low is None or (v > param.low if param.open_low else v >= param.low))
        and (param.high is None or v <= param.high)
        and (not param.choices or v in param.choices)
        for v in (value if many else [value])
    )


@given(st.sampled_from(SCHEMA), ANYTHING)
def test_check_obeys_the_schema_or_refuses_by_name(param, value):
    try:
        got = params.check(SCHEMA, {param.name: value})
    except ParameterError as error:
        assert str(error).startswith(f"{param.name}: got ") and "allowed: " in str(error)
        return
    assert obeys(param, got[param.name])
    assert params.check(SCHEMA, got) == got
    json.dumps(got, allow_nan=False)


def allowed(param):
    """Values that a parameter may have."""
    if param.choices:
        one = st.sampled_from(param.choices)
    elif param.element == "int":
        one = st.integers(param.low, param.high)
    elif param.element == "float":
        one = st.floats(param.low, param.high, exclude_min=param.open_low)
    else:
        one = {"bool": st.booleans(), "str": st.text()}[param.element]
    return one if param.type == param.element else st.lists(one, min_size=1, max_size=4)


def taken_after(injected):
    """The parameters of a notebook in which this cell ran after its own."""
    names: dict = {}
    exec(compile(f"{CELL}\n{injected}", "cell", "exec"), names)
    return params.take("toy", {"In": ["", CELL, injected], **names})


@given(st.fixed_dictionaries({}, optional={param.name: allowed(param) for param in SCHEMA}))
def test_what_is_allowed_survives_papermill(given):
    """As text, as papermill injects them, and as the check in the chapter then sees them."""
    wanted = params.check(SCHEMA, given)
    assert all(wanted[name] == value for name, value in given.items())
    assert params.check(SCHEMA, {name: str(value) for name, value in given.items()}) == wanted
    assert taken_after(translate_parameters("python3", "python", given)).asdict() == wanted


INJECTED = "# Parameters\nnetworks = 4\nsizes = [5]\n"
EDITED = CELL.replace("networks: int = 500", "networks: int = 600").replace("100, 100", "7")
NAMELESS = CELL.replace("networks:", "networs:")


@pytest.mark.parametrize(
    ("cells", "names", "changed"),
    [
        ([], {}, ()),
        ([INJECTED], {"networks": 4, "sizes": [5]}, ("networks", "sizes")),
        ([EDITED], {"networks": 600, "sizes": [7]}, ("networks", "sizes")),  # whoever wrote the cell
        (["networks = '9'"], {"networks": "9"}, ("networks",)),  # set by a person, as text
        ([INJECTED, "rate = 0.5"], {"networks": 4, "rate": 0.5, "other": 1}, ("networks", "rate")),
        (['# Parameters\nPAPERMILL_INPUT_PATH = "a"\nPAPERMILL_OUTPUT_PATH = "b"\n'], {}, ()),
        (["not python !", "networs = 3", "networs: int = 3", "rate: float = 1\nimport os\nx = 2"], {}, ()),
        ([NAMELESS, CELL], {"networs": 500}, ()),  # mended, and run again
        (["# Parameters\nnetwors = 3", CELL], {"networs": 3}, ()),
    ],
)
def test_take_has_the_values_of_now_and_knows_what_changed(cells, names, changed):
    record = take(*cells, **names)
    assert record.overridden == changed and record.chapter == "toy"
    assert record.asdict() == params.check(SCHEMA, {name: names[name] for name in changed})


@pytest.mark.parametrize(
    "cells",
    [
        [NAMELESS], [NAMELESS, NAMELESS, "P"], ["# Parameters\n" + NAMELESS], ["# Parameters\nnetwors = 4\n"],
        [CELL + "networs: int = 3  # more [networks; 1 to 9]\n"], [CELL + "networs = 3\nprint(networs)\n"],
        ["# Parameters\nrate = 1\nnetwors = 3", "# Parameters\nrate = 2", "P"],
    ],
)  # fmt: skip
def test_take_refuses_a_name_that_is_misspelt_with_a_hint(cells):
    with pytest.raises(ParameterError, match="^networs: no such parameter; did you mean networks?"):
        take(*cells, networs=3, rate=2)


def test_take_wants_every_parameter_a_known_chapter_and_allowed_values():
    with pytest.raises(ParameterError, match="rate: got 99, allowed: "):
        take(rate=99)
    for names in ({}, {"In": ["x = 1"]}, {name: NAMES[name] for name in NAMES if name != "sizes"}):
        missing = ", ".join(name for name in NAMES if name not in names)
        with pytest.raises(ParameterError, match=f"^{missing}: not set, run the parameters cell"):
            params.take("toy", names)
    for name in ("toys", "../toy", "", None):
        with pytest.raises(ParameterError, match=f"chapter: got {name!r}, wanted one .* kept: parts, toy$"):
            params.take(name, NAMES)


def test_take_has_the_other_parts_left_out():
    for part, out in (("a", "b"), ("all", "")):
        assert params.take("parts", {"part": part}).part == part and left_out("# part: b") == out


def test_a_notebook_gets_the_library_of_its_own_checkout(tmp_path, monkeypatch):
    (tmp_path / "lib" / "page").mkdir(parents=True)
    (tmp_path / "lib" / "page" / "params.py").touch()
    (tmp_path / "chapters").mkdir()
    monkeypatch.chdir(tmp_path / "chapters")
    with pytest.raises(ParameterError, match="not set"):
        params.take("toy")  # no checkout of the book
    (tmp_path / "_toc.yml").touch()
    stands = f"lib is that of {ROOT}, .* stands in {tmp_path}: .* -e {tmp_path}$"
    with pytest.raises(ParameterError, match=stands):
        params.take("toy")
    monkeypatch.chdir(ROOT / "tests")
    with pytest.raises(ParameterError, match="not set"):
        params.take("toy")


def test_record_is_read_only_and_shows_what_changed():
    record = take(rate=1, wide="no", label="<b>", sizes=[1, 2])
    for change, *words in ((setattr, "rate", 2), (delattr, "rate"), (setattr, "q", 1)):
        with pytest.raises(AttributeError, match="read-only"):
            change(record, *words)
    with pytest.raises(AttributeError, match="networs"):
        _ = record.networs
    assert record.sizes == (1, 2)
    assert repr(record).startswith("Parameters(networks=500, rate=1.0, wide=False, sizes=[1, 2]")
    html = record._repr_mimebundle_()["text/html"].replace(' style="text-align: left"', "")
    assert "Changed in this run, of 9 parameters" in html and html.count('<span class="sgd-changed">') == 4
    for words in ("1.0</span></td><td>0.003</td><td>per step</td><td>learning rate", "&lt;b&gt;",
                  "no</span></td><td>yes</td>", "1, 2</span></td><td>100, 100</td>"):  # fmt: skip
        assert words in html
    assert json.loads(json.dumps(record.asdict())) == record.asdict()
    assert pickle.loads(pickle.dumps(record)).asdict() == record.asdict()
    assert take()._repr_mimebundle_()["text/markdown"] == "All 9 parameters are at their defaults."


def notebook(path, cells):
    spec = {"name": "python3", "display_name": "p", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
    for source, tags in cells:
        book.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags}))
    nbformat.write(book, path)
    return path


START = "from pathlib import Path\n\nfrom lib.page import params\n\nparams.DEFAULTS = Path()\n"
TOY = [(CELL, ["parameters"]), (f"{START}params.take('toy')", [])]


def test_schema_of_a_notebook(tmp_path):
    assert params.schema(notebook(tmp_path / "a.ipynb", TOY)) == SCHEMA
    for cells, message in (
        (TOY[1:], "b.ipynb: 0 cells tagged"),
        (TOY[:1] * 2, "b.ipynb: 2 cells tagged"),
        ([("x = 1", ["parameters"])], "b.ipynb: parameters cell, line 1"),
    ):
        with pytest.raises(ParameterError, match=message):
            params.schema(notebook(tmp_path / "b.ipynb", cells))
    for text in ("{", "[]", "{}", '{"cells": 3}', '{"cells": [3]}'):
        (tmp_path / "e.ipynb").write_text(text)
        with pytest.raises(ParameterError, match="e.ipynb: not a notebook"):
            params.schema(tmp_path / "e.ipynb")
    with pytest.raises(FileNotFoundError):
        params.schema(tmp_path / "none.ipynb")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy.txt").write_text(CELL)
    notebook(tmp_path / "toy.ipynb", TOY)
    monkeypatch.chdir(tmp_path)


def test_papermills_words_are_coerced(toy):
    words = ["-p", "wide", "false", "-p", "sizes", "[1, 2]", "-y", "rate: 1e-3", "-p", "networks", "1e3"]
    papermill(["toy.ipynb", "out.ipynb", *words, "--prepare-only"], standalone_mode=False)
    record = taken_after(nbformat.read("out.ipynb", as_version=4).cells[1].source)
    wanted = {"networks": 1000, "rate": 0.001, "wide": False, "sizes": [1, 2]}
    assert {name: record.asdict()[name] for name in wanted} == wanted
    assert record.overridden == tuple(wanted)


def test_papermill_help_shows_every_parameter(toy, capsys):
    with pytest.raises(SystemExit, match="^0$"):
        papermill(["--help-notebook", "toy.ipynb"])
    shown = " ".join(capsys.readouterr().out.split())
    for param, line in zip(SCHEMA, CELL.splitlines(), strict=True):
        default, comment = line.split(" = ")[1].split("  # ")
        assert f"{param.name}: {param.type} (default {default}) {comment}" in shown
