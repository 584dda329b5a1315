"""What HTML and SVG may hold: tags and attributes by which nothing is fetched or run, and the known scripts.

All that is not named here is refused, in outputs, pages and files. `policy` tells browsers the same, so that
what this reader overlooks is not fetched or run either.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from urllib.parse import SplitResult, urlsplit
from xml.parsers import expat

POLICY = "content-security-policy"
_DRAWN = set(
    "svg g path defs use clippath rect image text tspan circle ellipse line polyline polygon title desc "
    "style metadata rdf:rdf cc:work cc:agent dc:type dc:format dc:title dc:creator dc:date lineargradient "
    "radialgradient stop marker mask pattern symbol".split()
)
_SHOWN = _DRAWN | set(
    "a abbr article aside b blockquote br caption cite code col colgroup dd del details div dl dt em "
    "fieldset figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i img input ins kbd label legend li main "
    "mark nav ol p pre q s samp script section small span strong sub summary sup table tbody td tfoot th "
    "thead tr u ul var wbr".split()
)
_PAGE = _SHOWN | set("body button dialog form head html link meta noscript".split())
_WORDS = set(  # attributes whose value is only read
    "align alt as autocapitalize autocomplete autocorrect border charset checked class colspan content "
    "defer dir disabled download focusable for headers hidden id lang max method min name open placeholder "
    "property readonly rel role rowspan scope scoped spellcheck start step tabindex target title type value "
    "version xml:lang xml:space xmlns rdf:resource".split()
)
_LOOKS = set(  # attributes whose value is drawn with, and may be CSS
    "clip-path clip-rule clippathunits color cx cy d dominant-baseline dx dy fill fill-opacity fill-rule "
    "filter font-family font-size font-style font-weight fx fy gradienttransform gradientunits height "
    "marker-end marker-mid marker-start markerheight markerunits markerwidth mask offset opacity orient "
    "overflow patterncontentunits patterntransform patternunits points preserveaspectratio r refx refy "
    "rotate rx ry shape-rendering stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset "
    "stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity stroke-width style text-anchor "
    "transform viewbox visibility width x x1 x2 y y1 y2".split()
)
_SOURCES = {"script": "src", "img": "src", "form": "action", "link": "href"}  # what is fetched or sent to
_NAMED = {"canonical", "index", "search", "next", "prev", "author", "license"}  # links that are not fetched
_FETCHES = re.compile(r"""[\\<]|@import|image-set|\b(?:image|src)\(|url\((?!\s*["']?#)""", re.IGNORECASE)
_HANDLERS = {"toggleFullScreen()", "window.print()"}
_PAGE_NAME = re.compile(r"DOCUMENTATION_OPTIONS\.pagename = '([\w./-]*)';")
# Scripts that the theme and the extensions write into the pages; an update of theirs may change them.
_SCRIPTS = {
    """
    document.documentElement.dataset.mode = localStorage.getItem("mode") || "auto";
    document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
  """,
    "let toggleHintShow = 'Click to show';",
    "let toggleHintHide = 'Click to hide';",
    "let toggleOpenOnPrint = 'true';",
    "var togglebuttonSelector = '.toggle, .admonition.dropdown';",
    'window.MathJax = {"options": {"processHtmlClass": "tex2jax_process|mathjax_process|math|output_area"}}',
    """
    // Activate the search field on page load
    let searchInput = document.querySelector("form.bd-search input");
    if (searchInput) {
        searchInput.focus();
        searchInput.select();
        console.log("[PST]: Set focus on search field.");
    }
  """,
}


def policy(page: str) -> str:
    """What a browser may fetch and run for a page: the book's own files and the known scripts, nothing else.

    This is the content of the ``Content-Security-Policy`` of the page of that name, as Sphinx has it.
    """
    known = [*sorted(_SCRIPTS | _HANDLERS), f"DOCUMENTATION_OPTIONS.pagename = '{page}';"]
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in known)
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' 'unsafe-hashes' {hashes}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'"
    )


def address(url: str) -> SplitResult:
    """The parts of a URL as browsers read it: white space means little to them, and a backslash is a slash.

    Those of a URL that cannot be read have a scheme that no link may have.
    """
    url = re.sub(r"[\t\r\n]", "", url).strip("".join(map(chr, range(33)))).replace("\\", "/")
    try:
        return urlsplit(re.sub("^//+", "//", url))
    except ValueError:
        return SplitResult("none", "", "", "", "")


def _fetched(tag: str, given: Mapping[str, str]) -> str:
    """What a browser fetches for a tag of HTML, or sends a form to; empty for nothing."""
    if tag == "link" and set(given.get("rel", "none").lower().split()) <= _NAMED:
        return ""
    return given.get(_SOURCES.get(tag, ""), "")


def _tag_faults(tag: str, given: Mapping[str, str]) -> Iterable[str]:
    """What a browser would fetch or run for a tag of the list, from its attributes."""
    for name, value in given.items():
        if name in _LOOKS:
            if _FETCHES.search(value):
                yield f"<{tag}> has a {name} that fetches something: {value[:80]}"
        elif name in _WORDS or name.startswith(("aria-", "data-", "xmlns:")):
            continue
        elif (tag, name) == ("meta", "http-equiv"):
            if value.lower() != POLICY:
                yield f"<meta http-equiv={value}> is not allowed"
        elif (tag, name) == ("a", "href"):
            if address(value).scheme not in ("", "http", "https", "mailto"):
                yield f"link to {value[:80]}, wanted an address of the web, of mail or in the book"
        elif name == _SOURCES.get(tag):
            picture = tag == "img" and value.startswith("data:image/")
            if any(address(_fetched(tag, given))[:2]) and not picture:
                yield f"<{tag}> is fetched from another host: {value[:80]}"
        elif tag in ("use", "image") and name in ("href", "xlink:href"):
            if not value.startswith("#" if tag == "use" else ("#", "data:image/")):
                yield f"<{tag}> is fetched from another file: {value[:80]}"
        elif name != "onclick" or value not in _HANDLERS:
            yield f"<{tag} {name}> is not among the attributes that are allowed"


class Markup(HTMLParser):
    """What HTML holds, read once.

    Attributes:
        text: the HTML.
        tags: every tag with its attributes, in order.
        ids: where links can lead.
        classes: all that its tags have.
        faults: what is not allowed, and drawings without a description.
        fetched: files of the book that the browser fetches.
        page: name of the page, as its script has it.
    """

    def __init__(self, text: str, allowed: Iterable[str] = _SHOWN) -> None:
        """Reads the text; whole pages may have more tags, see `page_markup`."""
        super().__init__()
        self.text, self.ids, self.classes = text, set(), set()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.fetched: list[str] = []
        self.page = ""
        self._allowed, self._raw, self._drawings = allowed, None, 0
        self.feed(text)
        self.close()
        if self._raw is not None:
            self.faults.append("a script or style that does not end")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Judges a tag."""
        given: dict[str, str] = {}
        for name, value in attrs:
            given.setdefault(name, value or "")  # of two, browsers take the first
        self.tags.append((tag, given))
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.classes.update(given.get("class", "").split())
        if tag not in self._allowed:
            self.faults.append(f"<{tag}> is not among the tags that are allowed")
        self.faults += _tag_faults(tag, given)
        if url := _fetched(tag, given):
            self.fetched.append(url)
        if tag == "svg":
            described = given.get("role") == "img" and given.get("aria-label", "").strip()
            if not self._drawings and given.get("aria-hidden") != "true" and not described:
                self.faults.append("<svg> without alternative text (role=img and aria-label, or aria-hidden)")
            self._drawings += 1
        if tag in ("script", "style"):
            self._raw = (tag, given, [])

    def handle_data(self, data: str) -> None:
        """Keeps what stands in a script or style."""
        if self._raw is not None:
            self._raw[2].append(data)

    def handle_endtag(self, tag: str) -> None:
        """Judges a script or style when it is there."""
        self._drawings -= tag == "svg"
        if self._raw is None or self._raw[0] != tag:
            return
        (_, given, parts), self._raw = self._raw, None
        text = "".join(parts)
        if tag == "style":
            if _FETCHES.search(text):
                self.faults.append("<style> fetches something")
        elif "src" in given:
            if text.strip():
                self.faults.append("<script> with both a file and a text")
        elif found := _PAGE_NAME.fullmatch(text):
            self.page = found[1]
        elif text not in _SCRIPTS and given.get("type") != "application/json":
            self.faults.append(f"a script that is not known: {text.strip()[:80]}")


def page_markup(text: str) -> Markup:
    """What a whole page holds; among its faults is any other policy than its own."""
    page = Markup(text, _PAGE)
    places = [k for k, (tag, given) in enumerate(page.tags) if given.get("http-equiv", "").lower() == POLICY]
    stated = [page.tags[k][1].get("content") for k in places]
    if stated != [policy(page.page)]:
        page.faults.append("it does not have exactly its own Content-Security-Policy")
    elif {tag for tag, _ in page.tags[: places[0]]} - {"html", "head", "meta"}:
        page.faults.append("its Content-Security-Policy does not stand before all else")
    return page


def drawing_faults(text: str | bytes) -> list[str]:
    """What an SVG, the text of a file, holds that is not allowed."""
    faults: list[str] = []
    styles: list[str] = []
    inside: list[str] = []

    def start(tag: str, given: dict[str, str]) -> None:
        inside.append(tag.lower())
        if inside[-1] not in _DRAWN:
            faults.append(f"<{tag}> is not among the tags that are allowed in a drawing")
        faults.extend(_tag_faults(inside[-1], {name.lower(): value for name, value in given.items()}))

    def refused(*_: object) -> None:
        faults.append("an SVG with an instruction or an entity of its own")

    reader = expat.ParserCreate()
    reader.StartElementHandler, reader.EndElementHandler = start, lambda _: inside.pop()
    reader.CharacterDataHandler = lambda text: styles.append(text) if inside[-1] == "style" else None
    reader.ProcessingInstructionHandler = reader.EntityDeclHandler = refused
    try:
        reader.Parse(text, True)
    except expat.ExpatError as error:
        faults.append(f"an SVG that is no XML: {error}")
    if _FETCHES.search("".join(styles)):
        faults.append("<style> fetches something")
    return faults
