"""The book: one toy book built for real, and everything that must never reach its readers."""

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import nbformat
import pytest
import toy_book

from book import build, cli, contents, gate, latex, markup, record, run, sphinx_book, standing
from lib.ensembles import machine, places, store
from lib.page.text import TEXT_MIME


def words(path: Path) -> str:
    """Text of a page without its marks."""
    return unescape(re.sub(r"<[^>]+>", "", path.read_text()))


LABEL = 'role="img" aria-label="A black square on white."'
URL, REPOSITORY = "https://books.example.org/sgd/", "https://github.com/somebody/sgd-book"


@pytest.fixture
def html(built):
    """The pages of a toy book."""
    return built / "_build" / "html"


@pytest.fixture(scope="module")
def published(built, tmp_path_factory):
    """The same book built where its addresses are known; the accepted numbers are others."""
    root = tmp_path_factory.mktemp("published") / "book"
    shutil.copytree(built, root, symlinks=True)
    place = root / record.VERDICTS
    text = place.read_text().replace("0123456789abcdef", "c0ffee").replace('"toy-system"', '"old"')
    place.write_text(text.replace("2.5", "1.5"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(contents.URL, URL.rstrip("/"))
        patch.setenv("SGD_BOOK_REPOSITORY", REPOSITORY)
        assert cli.main(["build"], root) == 0
        assert cli.main(["gate"], root) == 0
    return root


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A toy project of two chapters whose pages are built by a stand-in for Sphinx."""

    def pages(root: Path, scale: str, builder: str = "html") -> Path:
        built.append(scale)
        folder = root / "_build" / "staging" / scale / "html"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        text = "".join(nbformat.writes(nb) for nb in build.executed(root, scale))
        mark = "<title>T</title>"
        if scale == "preview":
            mark = '<title>PREVIEW</title><p class="sgd-preview">P</p>'
        policy = f'<meta http-equiv="Content-Security-Policy" content="{markup.policy("")}">'
        (folder / "index.html").write_text(policy + mark + f"<p>{len(text)}</p>" + extra.get("html", ""))
        return folder

    built, extra = [], {}
    monkeypatch.setattr(build, "build_pages", pages)
    second = toy_book.chapter(name="second")
    root = toy_book.project(tmp_path / "book", toy=toy_book.chapter(), second=second)
    return root, built, extra


@pytest.fixture
def good(project, executed_twice):
    """The same with a good book published."""
    root, built, extra = project
    for name, text in executed_twice.items():
        store.put(root / "_build" / "executed" / "full" / f"{name}.ipynb", text.encode())
    assert build.keep_record(root, lambda _: None) == 0
    assert build.build(root, "full", lambda _: None) == 0
    return root, built, extra


@pytest.fixture(scope="module")
def executed_twice(tmp_path_factory):
    """Executed copies of the two toy chapters."""
    chapters = {name: toy_book.chapter(name=name) for name in ("toy", "second")}
    root = toy_book.project(tmp_path_factory.mktemp("twice") / "book", **chapters)
    assert build.run_chapters(root, "full", say=lambda _: None) == []
    return {name: (root / "_build/executed/full" / f"{name}.ipynb").read_text() for name in chapters}


def spoil(root: Path, code: str, name: str = "toy") -> None:
    """Give a chapter another cell; `third` is a new one."""
    toy_book.save(root / "chapters" / f"{name}.ipynb", toy_book.chapter(code, name=name))
    if name == "third":
        with open(root / "_toc.yml", "a") as toc:
            toc.write("  - file: chapters/third\n")


# ---- the real thing


def test_pages_hold_numbered_figures_numbers_and_downloads(html):
    page = (html / "chapters" / "toy.html").read_text()
    assert re.search(rf'<figure[^>]* id="fig-toy">\s*<div[^>]*>\s*<svg[^>]* {LABEL}', page)
    assert re.search(r'caption-number">Fig. 1 ', page) and "A toy with" in page
    assert re.search(r"The mean is 2\.5, see <a[^>]*><span[^>]*>Fig. 1", page)
    assert (html / "figures" / "toy" / "fig-toy.csv").read_text() == 'x,y\n1,2.5\n2,"a, b"\n'
    assert (html / "figures" / "toy" / "fig-toy.svg").read_text().startswith("<svg")
    assert 'href="../figures/toy/fig-toy.csv"' in page
    code = (html / "figures" / "toy" / "cell-2.py").read_text()
    assert "print('folded')" in code and "folded" in words(html / "chapters" / "toy.html")
    assert "secret" not in page and "shown" in page and "<details" not in page
    assert "ABOUT =" in (html / "figures" / "toy" / "fig-toy.py").read_text() and "ABOUT" not in page
    assert page.index("fig-toy.svg") < page.index("<td>claims</td>")


def test_the_address_of_the_book_shows_its_first_page(html):
    first = (html / "intro.html").read_text()
    assert "<title>" in first and (html / "index.html").read_text() == first


def test_scoreboard_and_status_speak_of_all_chapters(html):
    page = (html / "scoreboard.html").read_text()
    for part in ("1 claim: 1 holds.", "The mean is below four", 'href="chapters/toy.html"'):
        assert part in page
    board = json.loads((html / "scoreboard.json").read_text())
    made = board.pop("provenance")
    assert board == {"scale": "full", "chapters": [toy_book.claim()]}
    assert made["toy"]["commit"] == "0123456789abcdef" and made["toy"]["seeds"]["last"] == 3
    with open(html / "scoreboard.csv", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert (row["chapter"], row["id"], row["value"], row["interval_low"], row["n"]) == (
        "toy", "mean", "2.5", "2.5", "3",
    )  # fmt: skip
    assert '<section id="toy">' in page and re.search(r'<tr[^>]*><td><p><span id="toy-mean"', page)
    status = (html / "status.html").read_text()
    assert "0123456789ab" in status and "1 to 3 (3)" in status and "toy-system" in status


def test_the_landing_page_shows_key_figures_of_this_build(html):
    page = (html / "intro.html").read_text()
    assert re.search(f'<a href="chapters/toy.html#fig-toy"><svg[^>]* {LABEL}', page)
    assert "Toy toy" in page and "The mean is 2.5, see" in page
    assert re.search(r'href="chapters/toy.html#fig-toy"><span[^>]*>Fig. 1', page)


def test_figures_offer_their_data_with_what_made_it(html):
    figure = json.loads((html / "figures" / "toy" / "fig-toy.json").read_text())
    assert figure["rows"] == [[1, 2.5], [2, "a, b"]] and figure["columns"] == ["x", "y"]
    assert figure["alt"] == "A black square on white." and figure["made"]["commit"] == "0123456789abcdef"
    assert 'href="../figures/toy/fig-toy.json"' in (html / "chapters" / "toy.html").read_text()


def test_the_book_says_how_to_cite_it_from_its_citation_file(html, published):
    page = words(html / "using.html")
    assert "@misc{sgd-book" in page and "executable book" in page and "0123456789ab" in page
    assert "url     = " not in page and "git clone" not in page
    assert f"url     = {{{URL}}}" in words(published / "_build" / "html" / "using.html")


def test_without_addresses_nothing_names_one(html):
    assert not (html / "sitemap.xml").exists() and not (html / "_images" / "social_previews").exists()
    for name in ("intro.html", "chapters/toy.html", "using.html"):
        page = (html / name).read_text()
        assert not re.search(r"og:|canonical|mybinder|colab", page), name
    assert 'href="/intro.html"' in (html / "404.html").read_text()


def test_with_addresses_cards_sitemap_and_buttons_are_right(published):
    html = published / "_build" / "html"
    page = (html / "chapters" / "toy.html").read_text()
    tags = dict(re.findall(r'<meta property="(og:[^"]+)" content="([^"]*)"', page))
    assert tags["og:url"] == f"{URL}chapters/toy.html"
    assert (html / tags["og:image"].removeprefix(URL)).stat().st_size > 1000
    assert "The mean is" in tags["og:description"]
    assert f'<link rel="canonical" href="{URL}chapters/toy.html"' in page
    places = re.findall("<loc>(.*?)</loc>", (html / "sitemap.xml").read_text())
    assert f"{URL}chapters/toy.html" in places and len(places) == 6
    assert all((html / place.removeprefix(URL)).is_file() for place in places)
    assert 'href="/sgd/intro.html"' in (html / "404.html").read_text()
    binder = "https://mybinder.org/v2/gh/somebody/sgd-book/main?urlpath=lab/tree/chapters/toy.ipynb"
    colab = "https://colab.research.google.com/github/somebody/sgd-book/blob/main/chapters/toy.ipynb"
    assert f'href="{binder}"' in page and f'href="{colab}"' in page
    assert f"!git clone --depth 1 {REPOSITORY}" in words(html / "using.html")


def test_an_address_that_is_none_is_refused_before_anything_runs(good, monkeypatch, capsys):
    root, built, _ = good
    monkeypatch.setenv(contents.URL, "books.example.org")
    assert cli.main(["build"], root) == 1
    assert "SGD_BOOK_URL: got 'books.example.org'" in capsys.readouterr().err and built == ["full"]


def test_the_accepted_run_has_moved_nowhere(html):
    page = words(html / "history.html")
    assert "This is the accepted run, of 2026-01-01 (commit 0123456789ab)." in page
    assert page.count("2.5 (exact) points") == 2 and "Moved: no" in page


def test_numbers_that_moved_are_told_with_the_machine(published):
    page = words(published / "_build" / "html" / "history.html")
    assert "1.5 (exact) points" in page and "2.5 (exact) points" in page and "Moved: yes" in page
    assert "Changed between them: machine; code." in page


def test_a_preview_is_compared_with_nothing(built):
    page = words(built / "_build" / "preview" / "html" / "history.html")
    assert "A preview is compared with nothing." in page and "Moved" not in page


@pytest.mark.skipif(bool(latex.missing()), reason=latex.missing() or "-")
def test_the_book_becomes_a_pdf(built):
    assert cli.main(["pdf"], built) == 0
    assert (built / "_build" / "book.pdf").read_bytes().startswith(b"%PDF")
    text = (built / "_build" / "staging" / "latex" / "_build" / "latex" / "book.tex").read_text()
    assert r"pasted-text}{2.5}" in text and r"\begin{longtable}" in text and "Download" not in text


def test_pages_fetch_nothing_and_mathjax_is_at_hand(html):
    page = (html / "intro.html").read_text()
    mathjax = "_static/mathjax/tex-svg-full.js"
    assert mathjax in page and (html / mathjax).stat().st_size > 1e6
    assert "thebe" not in page.lower()
    assert 'localStorage.getItem("mode") || "auto"' in page


def test_a_preview_says_so_everywhere(built):
    preview = built / "_build" / "preview" / "html"
    for name in ("intro.html", "chapters/toy.html", "scoreboard.html", "search.html", "genindex.html"):
        page = (preview / name).read_text()
        assert page.count("PREVIEW at reduced scale") >= 1 and re.search(r"<title>[^<]*PREVIEW", page), name
    assert (preview / "chapters" / "toy.html").read_text().count("PREVIEW at reduced scale") == 2
    assert "PREVIEW" not in (built / "_build" / "html" / "chapters" / "toy.html").read_text()


def test_recorded_files_hold_verdicts_and_seconds(built):
    mean = {"verdict": "holds", "value": 2.5, "interval": [2.5, 2.5], "n": 3}
    verdicts = {"toy": {"mean": mean | {"would_hold": "−100 to 4", "would_fail": "above 4"}}}
    recorded = json.loads((built / "results" / "verdicts.json").read_text())
    made = recorded.pop("provenance")
    assert recorded == verdicts == record.read(built / "results" / "verdicts.json")[0]
    assert set(made["toy"]) == set(gate.STAMP_FIELDS)
    timings = json.loads((built / "results" / "timings.json").read_text())
    assert "cell-1" in timings["full"]["toy"] and "title" not in timings["full"]["toy"]
    assert timings["provenance"]["full"]["toy"] == made["toy"]


def test_a_plain_build_without_a_network_is_a_build_and_publishes_no_fault(tmp_path):
    root = toy_book.project(tmp_path / "book", toy=toy_book.chapter())
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    environment = {**os.environ, "SGD_BOOK_SCALE": "full"}
    alone = ["unshare", "--map-root-user", "--net"]  # no interface at all, where the system lets us do that
    if shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True).returncode == 0:
        command = alone + command

    def plain():
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)

    done, html = plain(), root / "_build" / "html"
    assert done.returncode == 1 and "1 verdict(s) differ" in done.stdout and not any(html.iterdir())
    assert "last good book" not in done.stdout
    assert cli.main(["record"], root) == 0
    toy_book.save(root / "chapters" / "toy.ipynb", toy_book.chapter("print('anew')"))
    done = plain()
    assert done.returncode == 0, done.stdout + done.stderr
    page = (html / "chapters" / "toy.html").read_text()
    assert 'aria-label="A black square on white."' in page and "anew" in page
    before = toy_book.files(html)
    with open(root / "intro.md", "a") as intro:
        intro.write("See {ref}`nowhere`.\n")
    done = plain()
    assert done.returncode == 1 and "undefined label" in done.stdout
    assert toy_book.files(html) == before


def test_the_page_builder_never_runs_a_chapter_behind_a_build(tmp_path):
    root = toy_book.project(tmp_path / "book", toy=toy_book.chapter())
    with pytest.raises(run.RunError, match="has not been run at scale full"):
        build.build_pages(root, "full")


# ---- what must never be published


def test_a_bad_chapter_leaves_the_last_good_book(good):
    root, built, _ = good
    before, said = toy_book.files(root / "_build" / "html"), []
    spoil(root, "raise RuntimeError('no luck')")
    assert build.build(root, "full", said.append) == 1
    assert toy_book.files(root / "_build" / "html") == before
    assert built == ["full"], "the pages were built from a bad chapter"
    assert "NOT built" in "".join(said) and said[-1].endswith("_build/html/index.html")
    spoil(root, "x = 1")
    assert build.build(root, "full", said.append) == 0
    assert toy_book.files(root / "_build" / "html") != before


def test_one_bad_chapter_does_not_keep_the_others_from_running(project):
    root, built, _ = project
    spoil(root, "raise RuntimeError('no luck')")
    (root / "chapters" / "second.ipynb").write_text("{")
    spoil(root, "x = 1", "third")
    faults = build.run_chapters(root, "full", say=lambda _: None)
    assert [fault.partition(":")[0] for fault in faults] == ["toy", "second"]
    assert (root / "_build" / "executed" / "full" / "third.ipynb").exists() and not built


def test_a_preview_runs_its_chapters_side_by_side_each_on_a_core_of_its_own(project, monkeypatch):
    root, _, _ = project
    told = f"import os; print(os.environ['{places.ONE_THREAD}'], os.environ['OMP_NUM_THREADS'], os.getppid())"
    for name, code in (("toy", told), ("second", "raise RuntimeError('no luck')"), ("third", told)):
        spoil(root, code, name)
    monkeypatch.delenv(places.ONE_THREAD)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(machine, "at_once", lambda: 2)
    said = []
    (fault,) = build.run_chapters(root, "preview", say=said.append)
    assert fault.startswith("second: cell ") and "no luck" in fault
    assert said == ["chapter 2 of 3, second (preview): FAILED"]
    copies = [run.load(run.copy_path(root / "chapters" / f"{name}.ipynb", root, "preview"))
              for name in ("toy", "third")]  # fmt: skip
    (first, second) = (copy.cells[4].outputs[0].text.split() for copy in copies)
    assert first[:2] == second[:2] == ["1", "1"]
    assert {first[2], second[2]}.isdisjoint({str(os.getpid())}), "a kernel was started by the build itself"
    assert places.ONE_THREAD not in os.environ
    assert build.run_chapters(root, "preview", ["toy", "third"], say=said.append) == []
    assert all("current" in text for text in said[1:]) and len(said) == 3


def edit(root: Path, name: str, change, seal: bool = False) -> None:
    """Change a chapter's executed copy; it is as after a run only if it is sealed again."""
    path = run.copy_path(root / "chapters" / f"{name}.ipynb", root, "full")
    copy = run.load(path)
    change(copy)
    if seal:
        gate.seal(copy, {"key": copy.metadata[gate.RUN_METADATA]["key"]})
    nbformat.write(copy, path)


def of_another_scale(copy) -> None:
    """As if a whole copy of another scale had been given the key of this one."""
    key = copy.metadata[gate.RUN_METADATA]["key"]
    gate.seal(copy, {"key": "0" * 64})
    copy.metadata[gate.RUN_METADATA]["key"] = key


def in_output(mime: str, **other):
    """Puts something else into the first output of a type."""
    return lambda copy: gate.records(copy, mime)[0].update(other)


def test_a_copy_edited_by_hand_is_refused_and_run_again(good):
    root, _, _ = good
    toy, said = run.expected_copy(root / "chapters" / "toy.ipynb", root, "full"), []
    whole = toy.path.read_text()
    shown = [output for _, output in gate.outputs(run.load(toy.path))]
    other = {**gate.records(run.load(toy.path), gate.CLAIMS_MIME)[0]["claims"][0], "value": 2.6}
    for change in (
        in_output(gate.CLAIMS_MIME, claims=[other]),
        in_output(TEXT_MIME, myst="The mean is 3.3."),
        of_another_scale,
    ):
        toy.path.write_text(whole)
        edit(root, "toy", change)
        assert build.check(root, "full", said.append) == 1
        assert "toy: not current: it is not as it was" in said[-1] and not run.is_current(toy, root)
        with pytest.raises(run.RunError, match="it is not as it was"):
            build.executed(root, "full")  # which the pages are made from, and the PDF
    assert build.build(root, "full", said.append) == 0
    assert [output for _, output in gate.outputs(run.load(toy.path))] == shown


@pytest.mark.parametrize(
    "change",
    ["", "intro.md", "_static/book.css", "_config.yml", "_build/html/index.html", record.VERDICTS, "address"],
)
def test_pages_are_made_again_when_anything_they_show_has_changed_and_only_then(good, monkeypatch, change):
    root, built, _ = good
    said = []
    if change == "address":
        monkeypatch.setenv(contents.URL, URL)
    elif change:
        with open(root / change, "a") as stream:
            stream.write("\n")
    assert build.build(root, "full", said.append) == 0
    assert built == ["full"] * (2 if change else 1)
    assert said[-1] == "the book is at _build/html/index.html"


def test_pages_that_stand_are_judged_again(good):
    root, built, _ = good
    place = root / "_build" / "html"
    made_from = json.loads((place / standing.MARK).read_text())["from"]
    (place / "index.html").write_text('<title>T</title><img src="index.html">')
    standing.mark(place, made_from)
    said = []
    assert build.build(root, "full", said.append) == 1
    assert "no alt text" in "".join(said) and built == ["full"]


def test_a_verdict_that_is_not_the_recorded_one_stops_the_build(good):
    root, built, _ = good
    path, before, said = root / record.VERDICTS, toy_book.files(root / "_build" / "html"), []
    kept = json.loads(path.read_text())
    mean = kept["toy"]["mean"]
    changed = {**mean, "verdict": "fails"}
    for stated, told in (
        ({"mean": changed}, "fails     holds"),
        ({}, "(new)     holds"),
        ({"mean": mean, "old": mean}, "holds     (gone)"),
    ):
        path.write_text(json.dumps({**kept, "toy": stated}))
        assert build.build(root, "full", said.append) == 1
        assert told in said[-2] and "sgd-book record" in said[-2]
        assert toy_book.files(root / "_build" / "html") == before
    assert build.keep_record(root, said.append) == 0
    path.write_text(path.read_text().replace("2.5", "2.4"))  # another value of the same verdict passes
    assert build.build(root, "full", said.append) == 0


@pytest.mark.parametrize("other", ["verdict", "page", "copies"])
def test_the_gate_and_the_pdf_look_at_verdicts_and_at_what_the_pages_are_of(good, monkeypatch, other):
    root, _, _ = good
    said, place = [], root / "_build" / "html" / "index.html"
    assert build.check(root, "full", said.append) == 0 and said == ["passed"]
    if other == "verdict":
        path = root / record.VERDICTS
        path.write_text(path.read_text().replace("holds", "fails"))
    elif other == "page":
        place.write_text(place.read_text().replace("<p>", "<p>3.3 "))
    else:
        spoil(root, "x = 1")
        assert build.run_chapters(root, "full", say=said.append) == []
    assert build.check(root, "full", said.append) == 1
    wanted = "2 verdict(s) differ" if other == "verdict" else "_build/html was edited, or was made from"
    assert said[-1].startswith(wanted)
    monkeypatch.setattr(latex, "missing", lambda: "")
    monkeypatch.setattr(latex, "pdf", lambda text: pytest.fail("made") if other == "verdict" else place)
    assert build.print_book(root, said.append) == (other == "verdict")


def test_a_page_with_a_fault_leaves_the_last_good_book(good):
    root, _, extra = good
    before, said = toy_book.files(root / "_build" / "html"), []
    extra["html"] = '<img src="index.html">'
    with open(root / "intro.md", "a") as stream:
        stream.write("More.\n")
    assert build.build(root, "full", said.append) == 1
    assert "no alt text" in "".join(said)
    assert toy_book.files(root / "_build" / "html") == before


def test_nothing_is_recorded_from_chapters_that_are_not_current(good):
    root, _, _ = good
    before = toy_book.files(root / "results")
    spoil(root, "x = 1")
    assert build.keep_record(root, lambda _: None) == 1
    assert toy_book.files(root / "results") == before


def test_a_ledger_that_bears_another_chapters_name_is_refused(good):
    root, _, _ = good
    edit(root, "second", in_output(gate.CLAIMS_MIME, chapter="toy"), seal=True)
    said, before = [], toy_book.files(root / "results")
    assert build.keep_record(root, said.append) == 1
    assert "second: its claims are those of 'toy'" in said[-1] and toy_book.files(root / "results") == before


def test_a_preview_asks_for_no_verdict_and_its_times_are_recorded_alone(project):
    root, _, _ = project
    said = []
    assert build.keep_record(root, said.append, "preview") == 1 and "preview are not all current" in said[-1]
    assert build.build(root, "preview", said.append) == 0
    assert (root / "_build" / "preview" / "html" / "index.html").exists()
    assert build.keep_record(root, said.append, "preview") == 0
    timings = json.loads((root / "results" / "timings.json").read_text())
    assert set(timings) == {"preview", "provenance"} and set(timings["preview"]) == {"toy", "second"}
    assert timings["provenance"]["preview"]["toy"]["commit"] == "0123456789abcdef"
    assert [path.name for path in (root / "results").iterdir()] == ["timings.json"]


def test_times_are_not_taken_from_a_run_that_took_kept_work(good):
    root, _, _ = good
    before = record.read(root / record.TIMINGS)[0]["full"]
    for name, kept in (("toy", 3), ("second", 0)):
        edit(root, name, in_output(gate.STAMP_MIME, chunks={"computed": 0, "kept": kept}))
        edit(root, name, lambda copy: copy.cells[2].metadata["papermill"].update(duration=1e4), seal=True)
    said = []
    assert build.keep_record(root, said.append) == 0
    after = record.read(root / record.TIMINGS)[0]["full"]
    assert after["toy"] == before["toy"] and max(after["second"].values()) == 1e4
    assert [text for text in said if "times are not recorded" in text][0].startswith("toy: ")


@pytest.mark.parametrize("judge", [build.keep_record, lambda root, say: build.check(root, "full", say)])
def test_recording_and_judging_wait_for_a_build(good, monkeypatch, judge):
    root, _, _ = good
    held = []

    @contextlib.contextmanager
    def lock(*_):
        held.append("lock")
        yield

    monkeypatch.setattr(run, "lock", lock)
    assert judge(root, lambda _: None) == 0
    assert held == ["lock"]


# ---- the swap


def test_publishing_replaces_whole_folders(tmp_path):
    place = tmp_path / "html"
    for text in ("one", "two"):
        new = tmp_path / "new"
        new.mkdir()
        (new / f"{text}.html").write_text(text)
        build.publish(new, place)
        assert [p.name for p in place.iterdir()] == [f"{text}.html"]
    assert [p.name for p in tmp_path.iterdir()] == ["html"]


@pytest.mark.parametrize("killed", [False, True])
def test_publishing_cut_short_brings_the_last_good_book_back(tmp_path, monkeypatch, killed):
    new, place = tmp_path / "new", tmp_path / "html"
    for folder in (new, place):
        folder.mkdir()
        (folder / "index.html").write_text(folder.name)
    rename = os.rename

    def fails(source, target):
        if source == new:
            raise KeyboardInterrupt if killed else OSError("disk is gone")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(KeyboardInterrupt if killed else OSError):
        build.publish(new, place)
    if killed:
        place.mkdir()  # as Sphinx does as soon as it starts
    build.recover(place)
    assert (place / "index.html").read_text() == "html"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["html", "new"]


# ---- the command line


def test_status_names_every_chapter_and_scale(good):
    root, _, _ = good
    said = []
    assert build.status(root, said.append) == 0
    assert re.search(r"toy +full +current +0:0", said[0]) and re.search(r"second +preview +not run", said[0])
    assert "what nobody used for 30 days is removed" in said[-1]
    spoil(root, "x = 1")
    said.clear()
    build.status(root, said.append)
    assert re.search(r"toy +full +out of date", said[0])


# ---- pieces


def test_outputs_keep_their_order_around_figures():
    notebook = toy_book.chapter()
    new = nbformat.v4.new_output
    bundle = {
        "image/svg+xml": "<svg/>",
        "application/vnd.sgd-book.data+json": {"columns": ["x"], "rows": [[1]]},
    }
    abouts = [{"sgd_book": {"name": name, "caption": "C", "alt": "A"}} for name in ("fig-a", "fig-b")]
    figures = [new("display_data", bundle, metadata=about) for about in abouts]
    notebook.cells[3].outputs = [new("stream", text="before"), *figures, new("stream", text="after")]
    text, files = sphinx_book.page_text(notebook, "chapters/toy")
    cells = nbformat.reads(text, as_version=4).cells[3:7]
    assert [c.metadata.get("mystnb", {}).get("figure", {}).get("name") for c in cells] == [
        None,
        "fig-a",
        "fig-b",
        None,
    ]
    assert [c.outputs[0].get("text") for c in cells] == ["before", None, None, "after"]
    assert sorted(files) == [f"figures/toy/fig-{x}.{end}" for x in "ab" for end in ("csv", "json", "svg")]


def test_filled_text_becomes_a_cell_of_myst_and_hidden_code_a_file():
    notebook, new = toy_book.chapter("a = 1", "b = 2"), nbformat.v4.new_output
    told = {"myst": "See {numref}`fig-toy`.", "words": [], "values": {}}
    for cell in notebook.cells[2:5]:
        cell.metadata["jupyter"] = {"source_hidden": True}
    notebook.cells[2].outputs = [new("display_data", {TEXT_MIME: told, "text/markdown": "See figure *toy*."})]
    notebook.cells[3].outputs = [new("display_data", {"text/html": "", "text/plain": ""})]
    notebook.cells[4].outputs = [new("display_data", {"text/html": "<p>a table</p>"})]
    text, files = sphinx_book.page_text(notebook, "chapters/toy")
    cells = nbformat.reads(text, as_version=4).cells
    assert [cell.source for cell in cells[2:5] if cell.cell_type == "markdown"] == [
        "See {numref}`fig-toy`.",
        '<span class="sgd-figure-files"><a href="../figures/toy/cell-2.py" download>Code</a></span>',
    ]
    (code,) = (files[name].decode() for name in files if name.endswith(".py"))
    assert code.index("import json") < code.index("a = 1") < code.index("b = 2")


def test_changes_of_verdicts_in_all_directions():
    one = {"verdict": "holds"}
    before = {"a": {"x": one, "y": one}, "b": {"z": one}}
    now = {"a": {"x": {"verdict": "fails"}, "w": one}, "b": {"z": one}}
    assert record.changes(before, now) == [
        ("a", "x", "holds", "fails"),
        ("a", "w", None, "holds"),
        ("a", "y", "holds", None),
    ]
    assert record.changes(before, before) == []


def test_the_cover_is_the_figure_that_the_chapter_names():
    output = {
        "output_type": "display_data",
        "data": {"image/svg+xml": ["<svg>", "</svg>"]},
        "metadata": {"sgd_book": {"name": "fig-a", "caption": "c", "alt": "a"}},
    }
    stamp = {"output_type": "display_data", "data": {gate.STAMP_MIME: {"commit": "c--1"}}, "metadata": {}}
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "source": "", "outputs": [output, stamp]}
    notebook = {"cells": [cell], "metadata": {"sgd_book": {"cover": "fig-a"}}}
    assert record.cover(notebook) == '<svg></svg>\n<!-- {"commit": "c- -1"} -->\n'
    assert record.cover({**notebook, "metadata": {}}) is None
    with pytest.raises(ValueError, match="fig-b"):
        record.cover({**notebook, "metadata": {"sgd_book": {"cover": "fig-b"}}})
