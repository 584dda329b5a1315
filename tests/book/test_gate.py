"""The gate refuses whatever should not be seen, and lets a good page through."""

import copy

import nbformat
import pytest
import toy_book

from book import gate, markup

SPACE = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SVG = f"<svg {SPACE}/>"
KEY = "k" * 64


def executed() -> dict:
    """A toy chapter as if it had been run: every output in place, nothing wrong."""
    new = nbformat.v4.new_output
    notebook = toy_book.chapter("print(1)")
    outputs = [
        [], [], [new("stream", text="1\n")],
        [new("display_data", {"image/svg+xml": SVG, gate.DATA_MIME: {"columns": ["x"], "rows": [[1]]}},
             metadata={"sgd_book": {"name": "fig-toy", "caption": "A toy.", "alt": "A square."}})],
        [new("display_data", {gate.TEXT_MIME: {"myst": "The mean.", "words": [], "values": {}},
                              "text/markdown": "The mean."})],
        [new("display_data", {gate.CLAIMS_MIME: toy_book.claim()})],
        [new("display_data", {gate.STAMP_MIME: dict.fromkeys(gate.STAMP_FIELDS, 0)})],
    ]  # fmt: skip
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, (cell, given) in enumerate(zip(code, outputs, strict=True), 1):
        cell.execution_count, cell.outputs = count, given
        cell.metadata["papermill"] = {"status": "completed"}
    gate.seal(notebook, {"key": KEY})
    return notebook


TITLE, PARAMETERS, SETUP, PRINT, FIGURE, TOLD, CLAIMS, STAMP = range(8)


def output(kind: str = "display_data", **given):
    return nbformat.v4.new_output(kind, **given)


def add(cell: int, *outputs):
    return lambda nb: nb.cells[cell].outputs.extend(outputs)


def change(cell: int, **changed):
    return lambda nb: nb.cells[cell].update(changed)


def figure(**changed):
    return lambda nb: nb.cells[FIGURE].outputs[0].metadata["sgd_book"].update(changed)


def in_data(cell: int, mime: str, value):
    return lambda nb: nb.cells[cell].outputs[0].data.update({mime: value})


FAULTS = {
    "stale": (lambda nb: nb.metadata[gate.RUN_METADATA].update(key="other"), "not current"),
    "unrun": (change(PRINT, execution_count=None), "cell cell-1: was not run"),
    "failed": (lambda nb: nb.cells[PRINT].metadata["papermill"].update(status="failed"), "did not complete"),
    "no status": (lambda nb: nb.cells[PRINT].metadata.pop("papermill"), "did not complete"),
    "empty cell": (change(PRINT, source=" "), "empty code cell"),
    "error": (add(PRINT, output("error", ename="E", evalue="no luck", traceback=[])), "raised E: no luck"),
    "banner": (lambda nb: nb.cells[TITLE].metadata.update(tags=["papermill-error-cell-tag"]), "banner"),
    "stderr": (add(PRINT, output("stream", name="stderr", text="careful")), "stderr: careful"),
    "temporary": (add(PRINT, output(data={"text/html": "<b>/tmp/x1</b>"})), "/tmp/x1"),
    "path in a value": (in_data(TOLD, gate.TEXT_MIME, {"values": {"a": "/opt/x"}}), "/opt/x"),
    "path in alt": (figure(alt="A square of /srv/book/x."), "/srv/book"),
    "path in caption": (figure(caption="See /nix/store."), "/nix/store"),
    "path in data": (
        lambda nb: nb.cells[FIGURE].outputs[0].data[gate.DATA_MIME]["rows"].append(["/kaggle/input"]),
        "/kaggle/input",
    ),
    "path in a script": (add(PRINT, output(data={"application/javascript": "'/usr/x'"})), "/usr/x"),
    "script": (add(PRINT, output(data={"application/javascript": "1"})), "output of type application/java"),
    "shell": (change(PRINT, source="!false"), "not plain Python"),
    "shell cell": (change(PRINT, source="%%bash\nfalse"), "not plain Python"),
    "shell value": (change(PRINT, source="x = !false"), "not plain Python"),
    "shell call": (change(PRINT, source="get_ipython().system('false')"), "not plain Python"),
    "too large": (add(PRINT, output("stream", text="1 " * 1_100_000)), "output of 2.2 million characters"),
    "no XML": (in_data(FIGURE, "image/svg+xml", "<svg>"), "no XML"),
    "root": (add(PRINT, output("stream", text="/srv/book/x")), "/srv/book"),
    "path in claims": (add(STAMP, output(data={gate.STAMP_MIME: {"x": "/root/y"}})), "/root/y"),
    "widget": (add(PRINT, output(data={"application/vnd.jupyter.widget-view+json": {}})), "wanted app"),
    "plotly": (add(PRINT, output(data={"application/vnd.plotly.v1+json": {}})), "wanted app"),
    "altair": (add(PRINT, output(data={"application/vnd.vegalite.v5+json": {}})), "wanted app"),
    "no claims": (change(CLAIMS, outputs=[]), "0 claims records"),
    "two claims": (add(CLAIMS, output(data={gate.CLAIMS_MIME: toy_book.claim()})), "2 claims records"),
    "false verdict": (
        lambda nb: nb.cells[CLAIMS].outputs[0].data[gate.CLAIMS_MIME]["claims"][0].update(verdict="fails"),
        "claims record: .*verdict",
    ),
    "no stamp": (change(STAMP, outputs=[]), "0 stamps"),
    "poor stamp": (
        lambda nb: nb.cells[STAMP].outputs[0].data[gate.STAMP_MIME].pop("seeds"),
        "stamp: missing or unknown: seeds",
    ),
    "system": (change(PRINT, source="import os; os.system('ls')"), "not plain Python"),
    "bare figure": (lambda nb: nb.cells[FIGURE].outputs[0].metadata.clear(), "without name, caption and alt"),
    "no caption": (figure(caption=" "), "without caption"),
    "no alt": (figure(alt=""), "without alt"),
    "file as alt": (figure(alt="abc.png"), "file name"),
    "bad name": (figure(name="../x"), "figure name"),
    "no data": (lambda nb: nb.cells[FIGURE].outputs[0].data.pop(gate.DATA_MIME), "without the data"),
    "ragged data": (
        lambda nb: nb.cells[FIGURE].outputs[0].data[gate.DATA_MIME]["rows"].append([1, 2]),
        "another length",
    ),
    "same name": (lambda nb: nb.cells[FIGURE].outputs.append(nb.cells[FIGURE].outputs[0]), "used twice"),
}  # fmt: skip


def test_a_good_notebook_passes(tmp_path):
    assert gate.notebook_faults(executed(), [tmp_path], KEY) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(fault, tmp_path):
    spoil, message = FAULTS[fault]
    notebook = executed()
    spoil(notebook)
    if fault != "stale":
        gate.seal(notebook, {"key": KEY})
    with pytest.raises(AssertionError, match=message):
        assert gate.notebook_faults(notebook, [tmp_path, gate.Path("/srv/book")], KEY) == []


@pytest.mark.parametrize(("holds", "fault"), [(False, "it is not so"), (None, "cannot be told"), (True, "")])
def test_words_that_do_not_hold_are_refused_at_the_defaults_alone(holds, fault):
    notebook = executed()
    said = [{"words": "none comes back", "holds": holds}, {"words": "it is ahead", "holds": True}]
    told = {"myst": "x", "words": said, "values": {}}
    add(PRINT, output(data={gate.TEXT_MIME: told, "text/markdown": "x"}))(notebook)
    stamp = notebook.cells[STAMP].outputs[0].data[gate.STAMP_MIME]
    stamp["overridden"] = ["size"]
    assert gate.notebook_faults(notebook) == []
    stamp["overridden"] = []
    faults = gate.notebook_faults(notebook)
    assert len(faults) == bool(fault)
    assert all(f.startswith("cell cell-1: the text says 'none comes back'") and fault in f for f in faults)


def test_a_path_of_any_machine_is_found():
    paths = [f"/{place}/x" for place in "home opt usr srv data var etc nix content kaggle app".split()]
    texts = [(path, form.format(path)) for path in paths for form in ("at {}.", "'{}'", "path={}", "a:{}")]
    texts += [(path, path) for path in (r"D:\runs\x", "file:///home/me")]
    texts.append(("C:\\Users\\", r"C:\Users\me"))
    notebook = executed()
    add(PRINT, *(output("stream", text=text) for _, text in texts))(notebook)
    for (path, text), fault in zip(texts, gate.notebook_faults(notebook), strict=True):
        assert fault.startswith(f"cell cell-1: output holds a path of this machine: {path}"), text


def test_a_path_that_was_given_as_a_parameter_may_be_shown_and_no_other():
    notebook = executed()
    add(PRINT, output("stream", text="label='/opt/stud/i.npz'"))(notebook)
    injected = nbformat.v4.new_code_cell("# Parameters\nlabel = '/opt/stud/i.npz'\n", execution_count=1)
    injected.metadata.update(tags=["injected-parameters"], papermill={"status": "completed"})
    assert "/opt/stud" in " ".join(gate.notebook_faults(notebook)), "at the defaults"
    notebook.cells.insert(SETUP, injected)
    assert gate.notebook_faults(notebook) == []
    notebook.cells[PRINT + 1].outputs.append(output("stream", text="/opt/other/i.npz"))
    assert "/opt/other" in " ".join(gate.notebook_faults(notebook))


LIKE_PATHS = (
    *("3/4 of 10", "https://x.org/home/a", "a/tmp/b", "see /homework", "and/or", "/work", "1/data/3"),
    *("https://x.org/opt/a", "../data/x", r"f:\mathbb{R} \to x", "at /html/x"),
)


def test_what_only_looks_like_a_path_passes():
    notebook = executed()
    add(PRINT, *(output("stream", text=text) for text in LIKE_PATHS))(notebook)
    assert gate.notebook_faults(notebook) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{cite}`key`", "{cite}"),
        ("a {glue:text}`x:.2f`", "{glue:text}"),
        ("A field {{gap}}.", "{{"),
        ("end }}", "}}"),
        ("x\n\n:::{admonition} A", ":::"),
        ("(label)=\n# A", "(label)="),
        ("% a note", "%"),
        (
            "`{cite}` and $\\frac{a}{b}$, $$x_{ij}$$ $e^{z}$ and ```{x}```, 5 % of (this)=1\n\n"
            "```bash\n% x {{y}}\n```",
            "",
        ),
    ],
)
def test_text_that_a_front_end_shows_raw_is_found_in_cells_and_outputs(text, shown):
    for put in (
        change(TITLE, source=text),
        add(PRINT, output(data={"text/markdown": text})),
    ):
        notebook = executed()
        put(notebook)
        faults = gate.notebook_faults(notebook)
        assert len(faults) == bool(shown) and all(shown in fault for fault in faults)


# ---- pages

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy"
content="{policy}"><title>{title}</title><link rel="stylesheet" href="_static/a.css">
<link rel="canonical" href="https://example.org/"></head><body>{mark}<h1 id="top">T</h1>
<a href="https://example.org/x">web</a> <a href="#top">up</a> <a href="other.html#there">o</a>
<a href="mailto:a@b">m</a><button onclick="window.print()">print</button><svg aria-hidden="true"></svg>
<img src="_static/p.png" alt="A curve."><img src="data:image/png;base64,AA==" alt="A dot.">
<script>DOCUMENTATION_OPTIONS.pagename = '{name}';</script><p id="there">x</p>{extra}</body></html>"""


def site(folder, extra: str = "", title: str = "T", mark: str = "", **changed: str):
    (folder / "_static").mkdir(parents=True)
    for name in ("a.css", "p.png"):
        (folder / "_static" / name).write_text("")
    for name, more in (("index", extra), ("other", "")):
        given = {"extra": more, "title": title, "mark": mark, "name": name, "policy": markup.policy(name)}
        (folder / f"{name}.html").write_text(PAGE.format(**given | changed))
    return folder


HTML_FAULTS = {
    "no alt": ('<img src="_static/p.png">', "no alt text"),
    "empty alt": ('<img src="_static/p.png" alt=" ">', "no alt text"),
    "file as alt": ('<img src="_static/p.png" alt="_images/p.png">', "no alt text"),
    "lost picture": ('<img src="_static/q.png" alt="A curve.">', "q.png, which is not there"),
    "lost page": ('<a href="gone.html">x</a>', "gone.html, which is not there"),
    "lost place": ('<a href="other.html#nowhere">x</a>', "no such place"),
    "lost place here": ('<a href="#nowhere">x</a>', "no such place"),
    "outside": ('<a href="../../etc/passwd">x</a>', "not there"),
    "script": ('<script src="https://cdn.example.org/x.js"></script>', "another host"),
    "script by any scheme": ('<script src="//cdn.example.org/x.js"></script>', "another host"),
    "style": ('<link rel="stylesheet" href="https://fonts.example.org/x.css">', "another host"),
    "picture": ('<img src="https://example.org/p.png" alt="A curve.">', "another host"),
    "frame": ('<iframe src="https://example.org"></iframe>', "<iframe> is not among"),
    "error": ("<pre>Traceback (most recent call last):</pre>", "Python error"),
    "raw number": ("<p>np.float64(3.2)</p>", "raw NumPy"),
    "unresolved": ('<span class="problematic">x</span>', "could not resolve"),
}
# What browsers fetch or run, or lead readers to, in each way that a list of tags forgets.
FOREIGN = [
    "<script>fetch('https://x.org')</script>", '<script type="module">import "https://x.org/a.js"</script>',
    "<style>@import 'https://x.org/a.css';</style>", "<style>p {background: url(//x.org/p.png)}</style>",
    r"<style>p {background: \75rl(https://x.org/p.png)}</style>", "<style>p {color: red}",
    '<img src="_static/p.png" srcset="https://x.org/p.png 2x" alt="A curve.">', '<p onclick="x()">x</p>',
    '<svg aria-hidden="true"><script href="https://x.org/a.js"></script></svg>', "<script/>let x</script>",
    '<svg aria-hidden="true"><image href="https://x.org/p.png"/></svg>', '<track src="https://x.org/t.vtt">',
    '<svg aria-hidden="true"><use xlink:href="https://x.org/p.svg#a"/></svg>', '<svg onload="x()"></svg>',
    '<svg aria-hidden="true"><foreignObject><p>x</p></foreignObject></svg>', '<applet code="x"></applet>',
    '<svg aria-hidden="true"><path fill="url(https://x.org/p.svg#a)"/></svg>', '<base href="https://x.org/">',
    '<link rel="STYLESHEET" href="https://x.org/a.css">', '<video poster="https://x.org/p.png"></video>',
    '<input type="image" src="https://x.org/p.png">', '<p style="background:url(https://x.org/p.png)">x</p>',
    '<iframe srcdoc="<script>x()</script>"></iframe>', r'<img src="https:\\x.org\p.png" alt="A curve.">',
    '<script src=" ht\ntps://x.org/a.js"></script>', '<script src="///x.org/a.js"></script>',
    '<script src="https://[x"></script>', '<meta http-equiv="refresh" content="0; URL=https://x.org">',
    '<a href="javascript:x()">x</a>', '<a href="java\nscript:x()">x</a>', '<a href="#" ping="//x.org"></a>',
    '<object data="x.svg"></object>', '<embed src="x.svg">', '<form action="https://x.org"></form>',
    '<button formaction="https://x.org">x</button>', '<body background="https://x.org/p.png">',
    "<canvas></canvas>", '<svg role="img"></svg>', "<svg></svg>", '<svg><title>A curve.</title></svg>',
]  # fmt: skip
ELSEWHERE = [  # what a picture to download would fetch or run
    "<script>x()</script>", '<script href="https://x.org/a.js"/>', '<image href="https://x.org/p.png"/>',
    '<use xlink:href="p.svg#a"/>', "<style>@import 'https://x.org/a.css'</style>", '<path onclick="x()"/>',
    '<a xlink:href="https://x.org"/>', "<foreignObject/>", '<set attributeName="href" to="https://x.org"/>',
    '<s:script xmlns:s="http://www.w3.org/2000/svg"/>', '<?xml-stylesheet href="https://x.org/a.css"?>',
    '<path style="fill: url(https://x.org/p.svg#a)"/>', '<iframe xmlns="http://www.w3.org/1999/xhtml"/>',
]  # fmt: skip


def test_good_pages_pass(tmp_path):
    assert gate.html_faults(site(tmp_path / "html"), preview=False) == []
    marked = site(tmp_path / "preview", title="PREVIEW: T", mark='<p class="x sgd-preview">P</p>')
    assert gate.html_faults(marked, preview=True) == []


@pytest.mark.parametrize("fault", HTML_FAULTS)
def test_each_fault_of_a_page_is_found(fault, tmp_path):
    extra, message = HTML_FAULTS[fault]
    with pytest.raises(AssertionError, match=message):
        assert gate.html_faults(site(tmp_path / "html", extra), preview=False) == []


@pytest.mark.parametrize("extra", FOREIGN)
def test_what_is_foreign_is_refused_on_a_page_and_in_an_output(extra, tmp_path):
    assert gate.html_faults(site(tmp_path / "html", extra), preview=False)
    for mime in ("text/html", "text/markdown"):
        notebook = executed()
        add(PRINT, output(data={mime: f"<p>x</p>\n\n{extra}"}))(notebook)
        assert all(fault.startswith(f"cell cell-1: {mime}: ") for fault in gate.notebook_faults(notebook))
        assert gate.notebook_faults(notebook)


@pytest.mark.parametrize("inside", ELSEWHERE)
def test_what_is_foreign_is_refused_in_a_picture(inside, tmp_path):
    text, html = f"<svg {SPACE}>{inside}</svg>", site(tmp_path / "html")
    (html / "figures").mkdir()
    (html / "figures" / "f.svg").write_text(text)
    assert all(fault.startswith("figures/f.svg: ") for fault in gate.html_faults(html, preview=False))
    assert gate.html_faults(html, preview=False)
    notebook = executed()
    notebook.cells[FIGURE].outputs[0].data["image/svg+xml"] = text
    assert gate.notebook_faults(notebook)


def test_an_entity_is_refused_in_a_picture():
    assert markup.drawing_faults('<!DOCTYPE svg [<!ENTITY x "y">]><svg/>')
    assert markup.drawing_faults('<!DOCTYPE svg PUBLIC "x" "http://x.org/svg.dtd"><svg/>') == []


@pytest.mark.parametrize(
    "policy", ["", "default-src *", markup.policy("other"), markup.policy("index") + ";"]
)
def test_a_page_has_its_own_policy_and_no_other(policy, tmp_path):
    html = site(tmp_path / "html", policy=policy, name="index")
    fault = "index.html: it does not have exactly its own Content-Security-Policy"
    assert fault in gate.html_faults(html, False)


def test_the_policy_stands_once_and_before_all_else(tmp_path):
    html = site(tmp_path / "html")
    page, text = html / "index.html", (html / "index.html").read_text()
    meta = text[text.index("<meta http") : text.index("<title>")]
    for wrong in (text.replace(meta, ""), text.replace(meta, meta * 2)):
        page.write_text(wrong)
        assert gate.html_faults(html, False)[0].endswith("exactly its own Content-Security-Policy")
    page.write_text(text.replace(meta, "").replace("</head>", meta + "</head>"))
    assert gate.html_faults(html, False) == [
        "index.html: its Content-Security-Policy does not stand before all else"
    ]


def test_a_preview_must_say_so_on_every_page_and_a_full_book_on_none(tmp_path):
    mark = '<p class="sgd-preview">P</p>'
    cases = [({}, [True]), ({"title": "PREVIEW: T", "mark": mark}, [False])]
    cases += [({"title": "PREVIEW"}, [True, False]), ({"mark": mark}, [True, False])]
    for number, (given, refused_as) in enumerate(cases):
        html = site(tmp_path / str(number), **given)
        assert [preview for preview in (True, False) if gate.html_faults(html, preview)] == refused_as
        assert all(len(gate.html_faults(html, preview)) == 2 for preview in refused_as), given


def test_no_pages_are_no_book(tmp_path):
    assert gate.html_faults(tmp_path, preview=False) == ["there is no index.html"]


def test_judging_changes_nothing():
    notebook = executed()
    before = copy.deepcopy(notebook)
    gate.notebook_faults(notebook, [], KEY)
    assert notebook == before


def test_links_from_the_root_count_from_where_the_book_will_stand(tmp_path):
    html = site(tmp_path / "html", '<a href="/book/index.html">x</a>')
    assert gate.html_faults(html, False, "/book/") == []
    assert gate.html_faults(html, False) == ["index.html: link to /book/index.html, which is not there"]
    assert "outside the book" in gate.html_faults(html, False, "/other/")[0]
