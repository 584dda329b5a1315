import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from papermill.translators import translate_parameters

from lib.page import params
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
    assert isinstance(params.read("x: float = 1  # x [unit; 0 to 1]")[0].default, float)


def test_comment_lines_and_blank_lines_are_no_parameters():
    assert params.read(f"# the arms\n\n{CELL}") == SCHEMA


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("x = 1  # x [unit; 0 to 2]", "wanted  name: type = value"),
        ("x: int  # x [unit; 0 to 2]", "wanted  name: type = value"),
        ("print('x')", "wanted  name: type = value"),
        ("import os", "wanted  name: type = value"),
        ("a.b: int = 1  # x [unit; 0 to 2]", "wanted  name: type = value"),
        ("x: int = 1", "wanted a comment"),
        ("x: int = 1  # x", "wanted a comment"),
        ("x: int = 1  # [unit; 0 to 2]", "wanted a comment"),
        ("x: int = 1  # x []", "wanted a comment"),
        ("x: int = 1  # x [unit; 0 to 2] and more", "wanted a comment"),
        ("x: int = 1  # x [unit; 0 to 2; 3]", "wanted a comment"),
        ("x: int = 1  # x [unit]", "range ''"),
        ("x: float = 1.0  # x [unit; 0 to nan]", "range '0 to nan'"),
        ("x: float = 1.0  # x [unit; 0 to inf]", "range '0 to inf'"),
        ("x: int = 1  # x [unit; 2 to 0]", "range '2 to 0'"),
        ("x: int = 1  # x [unit; 0.5 to 2]", "range '0.5 to 2'"),
        ("x: int = 1  # x [unit; below 2]", "range 'below 2'"),
        ("x: int = 1  # x [unit; one of 1, b]", "range 'one of 1, b'"),
        ("x: str = 'a'  # x [unit; a to b]", "range 'a to b'"),
        ("x: str = 'a'  # x [unit; one of a, , b]", "range 'one of a, , b'"),
        ("x: bool = True  # x [flag]", "[yes or no]"),
        ("x: bool = True  # x [yes or no; 0 to 1]", "[yes or no]"),
        ("x: int = 3  # x [unit; 0 to 2]", "got 3, allowed: int, 0 to 2 [unit]"),
        ("x: float = 0.0  # x [unit; above 0 to 2]", "got 0.0, allowed: float, above 0 to 2 [unit]"),
        ("x: str = 'c'  # x [name; one of a, b]", "got 'c', allowed: one of a, b [name]"),
        ("x: list[int] = []  # x [unit; 0 to 2]", "list of at least one element"),
        ("x: list[int] = [1, 5]  # x [unit; 0 to 2]", "got 5 (element 2 of [1, 5])"),
        ("x: float = '1'  # x [unit; 0 to 2]", "is text"),
        ("x: list[int] = ['1']  # x [unit; 0 to 2]", "is text"),
        ("x: list[int] = '[1]'  # x [unit; 0 to 2]", "is text"),
        ("x: int = True  # x [unit; 0 to 2]", "got True of type bool"),
        ("x: int = 1.5  # x [unit; 0 to 2]", "got 1.5 of type float"),
        ("x: int = 1 + 1  # x [unit; 0 to 2]", "wanted a literal"),
        ("x: int = len('a')  # x [unit; 0 to 2]", "wanted a literal"),
        ("x: dict = {}  # x [unit; 0 to 2]", "type dict"),
        ("x: list = [1]  # x [unit; 0 to 2]", "type list"),
        ("x: list[bool] = [True]  # x [yes or no]", "type list[bool]"),
        ("x: str = 'a=b'  # x [text]", "second '='"),
        ("x: str = 'a'  # x = 2 [text]", "second '='"),
        ("x: str = 'a'  # x # y [text]", "second '='"),
        ("x: int = 1; y: int = 2  # x [unit; 0 to 2]", "all on one line"),
        ("x: list[int] = [1,\n 2]  # x [unit; 0 to 2]", "all on one line"),
        ("_x: int = 1  # x [unit; 0 to 2]", "not free"),
        ("list: int = 1  # x [unit; 0 to 2]", "not free"),
        ("asdict: int = 1  # x [unit; 0 to 2]", "not free"),
        ("ok: int = 1  # x [unit; 0 to 2]", "ok is set twice"),
    ],
)
def test_read_refuses_and_names_the_line(line, part):
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


def test_text_for_a_choice_given_as_a_number_says_how_to_pass_text():
    assert "-r label 3" in refused(label=3)


def test_unknown_name_gives_the_closest_and_all():
    message = refused(networs=3)
    assert message.startswith("networs: no such parameter; did you mean networks?")
    assert all(p.name in message for p in SCHEMA)
    assert "did you mean" not in refused(qqqqq=1)


def test_all_faults_come_together():
    message = refused(networks=1, nope=2, sizes="[0]", rate=1)
    assert message.splitlines()[0] == "3 parameters refused"
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == ["networks", "nope", "sizes"]


def test_a_long_value_is_cut_in_the_error():
    assert len(refused(sizes=[0] * 10000)) < 400


@given(st.integers(2, 100000))
def test_a_number_and_its_text_are_the_same(n):
    assert params.check(SCHEMA, {"networks": str(n)}) == params.check(SCHEMA, {"networks": n})


@given(st.floats(0, 10, exclude_min=True))
def test_floats_survive_as_text(x):
    assert params.check(SCHEMA, {"rate": repr(x)})["rate"] == x


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
    if param.type == param.element:
        elements = [value]
    else:
        elements = value
        if type(value) is not list or not value:
            return False
    return all(
        type(v) is KINDS[param.element]
        and (param.element != "float" or math.isfinite(v))
        and (param.low is None or (v > param.low if param.open_low else v >= param.low))
        and (param.high is None or v <= param.high)
        and (not param.choices or v in param.choices)
        for v in elements
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


@st.composite
def declared(draw):
    """A line of a parameters cell, and values that its own range allows and does not allow."""
    kind = draw(st.sampled_from(["int", "float"]))
    numbers = st.integers(-(10**9), 10**9) if kind == "int" else st.floats(-1e9, 1e9)
    low, high = sorted([draw(numbers), draw(numbers)])
    assume(low < high)
    above = draw(st.booleans())
    inside = st.integers(low + above, high) if kind == "int" else st.floats(low, high, exclude_min=above)
    few = st.lists(inside, min_size=1, max_size=4)
    many, default = draw(st.booleans()), draw(few)
    given_type, shown = (f"list[{kind}]", default) if many else (kind, default[0])
    bounds = f"{'above ' * above}{low!r} to {high!r}"
    line = f"x: {given_type} = {shown!r}  # something [unit; {bounds}]"
    return line, draw(few) if many else draw(inside), draw(st.sampled_from([low - 1, high + 1]))


@given(declared())
def test_any_declared_range_is_kept(case):
    line, good, bad = case
    (param,) = schema = params.read(line)
    assert obeys(param, params.check(schema, {})["x"])
    assert params.check(schema, {"x": good})["x"] == good
    wrong = bad if param.type == param.element else [bad]
    assume(bad < param.low or bad > param.high)  # a large float minus one may be itself
    with pytest.raises(ParameterError, match=r"^x: got .*allowed: "):
        params.check(schema, {"x": wrong})


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


@given(st.fixed_dictionaries({}, optional={param.name: allowed(param) for param in SCHEMA}))
def test_what_is_allowed_survives_papermill(given):
    """As it writes parameters into the injected cell, and as the check in the chapter then sees them."""
    wanted = params.check(SCHEMA, given)
    assert all(wanted[name] == value for name, value in given.items())
    injected = translate_parameters("python3", "python", given)
    names: dict = {}
    exec(compile(f"{CELL}\n{injected}", "cell", "exec"), names)
    assert params.take({"In": ["", CELL, injected], **names}).asdict() == wanted


@given(st.dictionaries(st.sampled_from([p.name for p in SCHEMA]) | st.text(min_size=1), ANYTHING, max_size=6))
def test_every_refused_name_is_in_the_error(given):
    faulty = set()
    for name, value in given.items():
        try:
            params.check(SCHEMA, {name: value})
        except ParameterError:
            faulty.add(name)
    if not faulty:
        assert params.check(SCHEMA, given).keys() == {p.name for p in SCHEMA}
        return
    with pytest.raises(ParameterError) as caught:
        params.check(SCHEMA, given)
    for name in faulty:
        assert f"{name}: " in str(caught.value)


def take(cells, **names):
    return params.take({"In": ["", *cells], **names})


def test_take_from_explicit_source():
    record = params.take({"networks": "9", "other": 1}, CELL)
    assert record.networks == 9 and record.overridden == ("networks",) and record.sizes == (100, 100)


def test_take_uses_the_latest_parameters_cell():
    new = CELL.replace("500", "600")
    record = take(["x = 1", CELL, "y = 2", "not python !", new, "z = 3"], networks=600)
    assert record.networks == 600 and record.overridden == ()
    record = take([CELL, new, CELL, "P"], networks=500)
    assert record.networks == 500


def test_take_sees_names_injected_after_the_cell_only():
    injected = "# Parameters\nnetworks = 4\nnetwors = 3\n"
    with pytest.raises(ParameterError, match="networs: no such parameter; did you mean networks"):
        take([CELL, injected, "P"], networks=4, networs=3)
    record = take([CELL, injected, CELL, "P"], networks=500, networs=3)
    assert record.overridden == ()


def test_a_name_that_another_cell_has_given_another_value_is_refused():
    cells = [CELL, "# Parameters\nnetworks = 4\nsizes = [5]\n", "P", "networks = 7"]
    assert take(cells, networks=4, sizes=[5]).networks == 4
    for wrong in ({"networks": 7}, {"sizes": (5, 5)}, {"networks": 500}):
        (name,) = wrong
        with pytest.raises(ParameterError, match=f"{name}: holds .* run the parameters cell again"):
            take(cells, **{"networks": 4, "sizes": [5], **wrong})
    with pytest.raises(ParameterError, match="rate: holds 0.5 now, and its cell gave it 0.003"):
        take([CELL], rate=0.5)


def test_take_allows_the_paths_papermill_can_inject():
    injected = '# Parameters\nPAPERMILL_INPUT_PATH = "a"\nPAPERMILL_OUTPUT_PATH = "b"\n'
    assert take([CELL, injected], PAPERMILL_INPUT_PATH="a", PAPERMILL_OUTPUT_PATH="b").overridden == ()


def test_take_refuses_a_malformed_cell_rather_than_an_older_one():
    with pytest.raises(ParameterError, match="line 1"):
        take([CELL, CELL.replace("[networks; 2 to 100000]", "")], networks=500)


def test_take_without_a_parameters_cell():
    with pytest.raises(ParameterError, match="no parameters cell has run"):
        take(["x = 1"])
    with pytest.raises(ParameterError, match="no parameters cell has run"):
        params.take()


def test_record_is_read_only_and_shows_what_changed():
    record = params.take({"rate": 1, "wide": "no", "label": "<b>"}, CELL)
    assert record.overridden == ("rate", "wide", "label")
    for change, *words in ((setattr, "rate", 2), (delattr, "rate"), (setattr, "q", 1)):
        with pytest.raises(AttributeError, match="read-only"):
            change(record, *words)
    with pytest.raises(AttributeError, match="networs"):
        _ = record.networs
    assert repr(record).startswith("Parameters(networks=500, rate=1.0, wide=False, sizes=[100, 100]")
    html = record._repr_html_()
    assert "changed: rate, wide, label" in html and "changed, default 0.003" in html and "&lt;b&gt;" in html
    assert "<b>" not in html and "learning rate" in html and "per step" in html
    assert json.loads(json.dumps(record.asdict())) == record.asdict()
    assert pickle.loads(pickle.dumps(record)).asdict() == record.asdict()
    assert "all at their defaults" in take([CELL])._repr_html_()


def notebook(path, cells):
    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}
    )
    for source, tags in cells:
        book.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags}))
    nbformat.write(book, path)
    return path


TOY = [
    (CELL, ["parameters"]),
    ("from lib.page import params\n\nP = params.take()\nP", []),
    ("import json\n\nprint(json.dumps([P.asdict(), P.overridden]))", []),
]


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


def python(folder, *words):
    """Python as a reader would call it, from a folder that is not the project."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def papermill(folder, *words):
    return python(folder, "-m", "papermill", "--no-progress-bar", *words)


@pytest.fixture
def toy(tmp_path):
    return notebook(tmp_path / "toy.ipynb", TOY)


def printed(path):
    output = nbformat.read(path, as_version=4).cells[-1].outputs
    return json.loads(output[0].text)


def test_papermill_by_command_coerces(tmp_path, toy):
    words = ["-p", "wide", "false", "-p", "sizes", "[1, 2]", "-y", "rate: 1e-3", "-p", "networks", "1e3"]
    done = papermill(tmp_path, "toy.ipynb", "out.ipynb", *words)
    assert done.returncode == 0, done.stderr
    values, overridden = printed(tmp_path / "out.ipynb")
    wanted = {"networks": 1000, "rate": 0.001, "wide": False, "sizes": [1, 2]}
    assert {name: values[name] for name in wanted} == wanted
    assert overridden == ["networks", "rate", "wide", "sizes"]


def test_papermill_by_command_refuses(tmp_path, toy):
    done = papermill(tmp_path, "toy.ipynb", "out.ipynb", "-p", "networs", "3")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert last.startswith("ParameterError: networs: no such parameter; did you mean networks?")


def test_papermill_help_shows_every_parameter(tmp_path, toy):
    done = papermill(tmp_path, "--help-notebook", "toy.ipynb")
    shown = " ".join(done.stdout.split())
    for param, line in zip(SCHEMA, CELL.splitlines(), strict=True):
        default, comment = line.split(" = ")[1].split("  # ")
        assert f"{param.name}: {param.type} (default {default}) {comment}" in shown


def test_other_runners_find_the_cell_too(tmp_path, toy):
    """One kernel by nbclient: the notebook as it is, then cells run again by hand."""
    code = """if True:
        import nbformat, sys
        from jupyter_client.manager import AsyncKernelManager
        from nbclient import NotebookClient

        class Private(AsyncKernelManager):
            transport = "ipc"

        book = nbformat.read("toy.ipynb", as_version=4)
        client = NotebookClient(book, kernel_manager_class=Private, timeout=120)
        with client.setup_kernel():
            for index in (0, 1, 2, 0, 1, 2):
                client.execute_cell(book.cells[index], index)
                book.cells[0].source = book.cells[0].source.replace("= 500", "= 600").replace("= 2", "= 4")
            print(book.cells[2].outputs[0].text)
    """
    run = python(tmp_path, "-c", code)
    assert run.returncode == 0, run.stderr
    assert "TCP" not in run.stderr
    values, overridden = json.loads(run.stdout)
    assert (values["networks"], values["power"], overridden) == (600, 4, [])
