"""Chapters for print: what becomes of drawings, tables and links."""

import base64
import shutil
import subprocess

import nbformat
import pytest

from book import build, cli, latex

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"><rect width="9" height="9"/></svg>'
TABLE = (
    "<div><table><thead><tr><th>name</th><th>50 % & more_of</th></tr></thead>"
    "<tbody><tr><th>a</th><td>η₀ <b>= 3</b></td></tr><tr><td>alone</td></tr></tbody></table></div>"
)
needs_tex = pytest.mark.skipif(bool(latex.missing()), reason=latex.missing() or "-")


def printed(*outputs, **metadata):
    """Cells of a notebook of one code cell, for print."""
    new = nbformat.v4
    cell = new.new_code_cell("x", outputs=[new.new_output("display_data", data) for data in outputs])
    cell.metadata.update(metadata)
    return nbformat.reads(latex.printed(nbformat.writes(new.new_notebook(cells=[cell]))), as_version=4).cells


def test_a_table_becomes_one_that_breaks_over_pages():
    cells = printed({"text/html": TABLE, "text/plain": "a table"})
    assert cells[0].outputs == []
    text = cells[1].source
    assert text.startswith("```{raw} latex") and text.count(r"\begin{longtable}") == 1
    assert r"\bfseries name & \bfseries 50 \% \& more\_of \\" in text and r"\endhead" in text
    assert "a & η₀ = 3" in text or r"a & η\(_{\text{0}}\) = 3" in text
    assert "alone &  " in text, "a short row is filled up"


def test_widths_of_columns_fill_the_line_and_no_long_text_takes_it_all():
    text = printed({"text/html": f"<table><tr><td>a</td><td>{'b ' * 500}</td></tr></table>"})[1].source
    widths = [float(part.split("\\linewidth")[0]) for part in text.split(r"\dimexpr ")[1:]]
    assert sum(widths) == pytest.approx(1, abs=0.01) and widths[0] > 0.05


def test_plain_outputs_stay_and_what_only_a_browser_shows_goes():
    cells = printed({"text/html": "<b>x</b>", "text/plain": "x"}, {"text/html": "<script>1</script>"})
    assert [list(output.data) for output in cells[0].outputs] == [["text/plain"]] and len(cells) == 1


def test_links_to_files_are_left_out_of_captions():
    caption = 'What to see.\n\n<span class="sgd-figure-files">Download</span>'
    cells = printed(mystnb={"figure": {"name": "fig-a", "caption": caption}})
    assert cells[0].metadata["mystnb"]["figure"]["caption"] == "What to see."


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="rsvg-convert is not installed")
def test_a_drawing_becomes_pdf():
    data = printed({"image/svg+xml": SVG, "text/plain": "x"})[0].outputs[0].data
    assert base64.b64decode(data["application/pdf"]).startswith(b"%PDF") and "image/svg+xml" not in data


def test_without_tex_one_error_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "run_chapters", lambda *a, **k: pytest.fail("a chapter was run first"))
    assert cli.main(["pdf"], tmp_path) == 1
    said = capsys.readouterr().out
    assert "NOT made" in said and said.count("apt-get install") == 1
    assert all(name in said for name in ("latexmk", "texlive-xetex", "librsvg2-bin"))


def test_tex_that_takes_too_long_is_one_error(tmp_path, monkeypatch, capsys):
    def slow(_):
        raise subprocess.TimeoutExpired("latexmk", 1800)

    monkeypatch.setattr(latex, "missing", lambda: "")
    monkeypatch.setattr(latex, "pdf", slow)
    monkeypatch.setattr(build, "ready", lambda *_: [])
    monkeypatch.setattr(build, "build_pages", lambda root, *_: root)
    assert cli.main(["pdf"], tmp_path) == 1
    assert "NOT made:\nCommand 'latexmk' timed out after 1800 seconds" in capsys.readouterr().out


@needs_tex
def test_what_tex_complains_of_is_told(tmp_path):
    (tmp_path / "book.tex").write_text(r"\documentclass{article}\begin{document}\nosuchthing\end{document}")
    with pytest.raises(RuntimeError, match="Undefined control sequence"):
        latex.pdf(tmp_path / "book.tex")
