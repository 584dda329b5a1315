"""The project's furniture does what it says: pins, table of contents, notebooks, commands, workflows."""

import ast
import functools
import importlib.metadata
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sphinx.util.matching import compile_matchers

from book import cli, contents
from lib.page import params

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
PACKAGES = ("lib", "book")
MODULES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py") if not p.stem.startswith("__"))
# Their subject is what a private path looks like, so they hold made-up ones.
ON_PATHS = {"book/gate.py", "tests/book/test_gate.py", "tests/test_project.py"}


def text(name: str) -> str:
    """Text of a file of the project."""
    return (ROOT / name).read_text("utf-8")


def tool(name: str) -> str:
    """Path of a checker in this environment; without it the test is skipped."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"{name} is not installed: pip install -r requirements-test.txt")
    return found


def passes(*command: str) -> None:
    """Run a checker, which must find nothing."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command[1:])}\n{done.stdout}{done.stderr}"


@functools.cache
def files() -> tuple[str, ...]:
    """Names of the files that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = (
            subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return tuple(name for name in listed if name and (ROOT / name).is_file())


# ---- requirements ----------------------------------------------------------------------------------------


def pins(name: str) -> list[Requirement]:
    """Requirements that a file names, without its options."""
    lines = (line.partition("#")[0].strip() for line in text(name).splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def applies(requirement: Requirement, extras: tuple[str, ...] = ("",)) -> bool:
    """Whether a requirement counts on this system and Python."""
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras)


def version(name: str) -> str | None:
    """Installed version, None when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


PINNED = [f"requirements{of}.txt" for of in ("", "-cluster", "-test", "-lab")] + ["constraints.txt"]


@pytest.mark.parametrize("name", PINNED)
def test_every_pin_is_exact_and_is_the_installed_version(name):
    found = pins(name)
    assert found and [pin for pin in found if not re.fullmatch(r"==[\w.]+", str(pin.specifier))] == []
    here = [pin for pin in found if applies(pin)]
    wrong = [
        f"{pin}, installed: {version(pin.name)}"
        for pin in here
        if f"=={version(pin.name)}" != str(pin.specifier)
    ]
    if name != "requirements.txt":  # a lock names more than each system needs; test tools may be absent
        wrong = [line for line in wrong if not line.endswith("None")]
    assert not wrong, "the environment is not the pinned one: pip install -r requirements-test.txt"


def test_the_lock_has_all_that_the_requirements_pull_in():
    named = [pin for name in PINNED[1:4] for pin in pins(name)]
    locked = {canonicalize_name(p.name) for p in pins("constraints.txt") + named}
    todo = [(pin.name, ("", *pin.extras)) for pin in pins("requirements.txt") + named]
    seen, missing = set(), set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen or version(name) is None:
            continue
        seen.add((name, extras))
        if canonicalize_name(name) not in locked:
            missing.add(name)
        needs = (Requirement(line) for line in importlib.metadata.requires(name) or ())
        todo += [(need.name, ("", *sorted(need.extras))) for need in needs if applies(need, extras)]
    assert not missing


def test_direct_requirements_and_lock_agree():
    locked = {canonicalize_name(pin.name): str(pin.specifier) for pin in pins("constraints.txt")}
    for pin in pins("requirements.txt"):
        assert str(pin.specifier) == locked.get(canonicalize_name(pin.name)), pin


def test_requirements_stand_in_the_order_that_pip_needs():
    lines = text("requirements.txt").splitlines()
    assert (lines[0], lines[-1]) == ("-c constraints.txt", "-e .")
    assert text("requirements-test.txt").splitlines()[0] == "-r requirements-cluster.txt"
    for name in ("requirements-cluster.txt", "requirements-lab.txt"):
        assert text(name).splitlines()[0] == "-r requirements.txt"
    assert "tensorflow" in {pin.name for pin in pins("requirements.txt")}


def test_the_extra_is_what_its_requirements_pin_first():
    extra = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]["cluster"]
    assert extra == [str(pin) for pin in pins("requirements-cluster.txt")[:2]]


def test_what_the_library_and_the_chapters_import_is_a_direct_requirement():
    extra = pins("requirements-cluster.txt")[:2]
    direct = {canonicalize_name(pin.name) for pin in pins("requirements.txt") + extra}
    sources = {path.name: path.read_text("utf-8") for path in MODULES}
    sources |= {path.name: code(path) for path in NOTEBOOKS}
    owners, missing = importlib.metadata.packages_distributions(), []
    for where, source in sources.items():
        tops = {name.partition(".")[0] for name in imports(source)}
        for top in tops - sys.stdlib_module_names - {*PACKAGES}:
            if not direct & {canonicalize_name(owner) for owner in owners.get(top, [top])}:
                missing.append(f"{where}: {top}")
    assert not missing


def test_chapters_know_nothing_of_the_book():
    """The keys of what they train follow the library alone; nor do they fetch."""
    tops = {path.name: {name.partition(".")[0] for name in imports(code(path))} for path in NOTEBOOKS}
    assert tops and all("lib" in of and "book" not in of for of in tops.values())


def test_version_is_the_same_wherever_it_stands():
    stated = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert yaml.safe_load(text("CITATION.cff"))["version"] == stated
    assert re.search(rf"^## \[{re.escape(stated)}\]", text("CHANGELOG.md"), re.MULTILINE)
    assert version("sgd-book") in (stated, None)


# ---- chapters --------------------------------------------------------------------------------------------


def cells(path: Path, kind: str) -> list[dict]:
    """Cells of a notebook of one kind."""
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == kind]


def code(path: Path) -> str:
    """Code of a notebook, without its text cells."""
    every = ("".join(cell["source"]) for cell in cells(path, "code"))
    return "\n".join(source for source in every if not source.startswith("%%"))


def told(path: Path) -> str:
    """All text of a notebook: Markdown cells and text cells."""
    every = ("".join(cell["source"]) for cell in cells(path, "code"))
    markdown = ["".join(cell["source"]) for cell in cells(path, "markdown")]
    return "\n".join([*markdown, *(source for source in every if source.startswith("%%"))])


def test_every_page_of_the_contents_is_there_and_every_chapter_is_a_page():
    pages = dict(contents.pages(ROOT))
    assert len(pages) > 1
    assert set(NOTEBOOKS) == {path for path in pages.values() if path.suffix == ".ipynb"} != set()


@pytest.mark.parametrize("folder", [".pytest_cache", ".venv", ".ci", "_build", "chapters/.ipynb_checkpoints"])
def test_what_tools_leave_in_hidden_folders_is_no_page(folder):
    patterns = yaml.safe_load(text("_config.yml"))["exclude_patterns"]
    assert any(excludes(folder) for excludes in compile_matchers(patterns))


def test_chapters_are_as_nbstripout_leaves_them():
    options = re.search(r"nbstripout (--keep-id .*?) chapters/\*\.ipynb", text("CONTRIBUTING.md"))
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', options[1])]
    passes(tool("nbstripout"), "--verify", *words, *(str(path.relative_to(ROOT)) for path in NOTEBOOKS))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestChapter:
    """A chapter as it is committed."""

    def test_has_no_outputs(self, path):
        executed = [c["id"] for c in cells(path, "code") if c["outputs"] or c["execution_count"] is not None]
        assert not executed, "strip it: see CONTRIBUTING.md"

    def test_has_ids_that_mean_something(self, path):
        notebook = json.loads(path.read_text("utf-8"))
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        names = [cell["id"] for cell in notebook["cells"]]
        assert len(set(names)) == len(names)
        assert not [name for name in names if not re.fullmatch(r"[a-z][a-z0-9-]+", name)]
        assert not [name for name in names if re.fullmatch(r"[0-9a-f]{8}", name)], "made by a machine"

    def test_has_parameters_for_every_scale(self, path):
        files = sorted((path.parent / "parameters" / path.stem).glob("*.yaml"))
        assert {"preview", "smoke", "exercise-1"} <= {file.stem for file in files}
        for file in files:
            given = yaml.safe_load(file.read_text("utf-8"))
            assert given and params.check(params.schema(path), given), "parameters that change nothing"
            assert file.stem in ("preview", "smoke") or f"parameters/{path.stem}/{file.name}" in told(path)

    def test_is_light(self, path):
        sources = ["".join(cell["source"]) for cell in cells(path, "code")]
        lengths = [len(source.splitlines()) for source in sources if not source.startswith("%%")]
        assert max(lengths) <= 30 and statistics.median(lengths) <= 12
        bare = [c["id"] for c in cells(path, "code") if "hide-input" in c["metadata"].get("tags", ())]
        assert not bare, "hidden is what has source_hidden in its metadata"

    def test_opens_with_the_place_of_its_answer_and_ends_with_it(self, path):
        first, last = cells(path, "code")[0], cells(path, "code")[-1]
        assert first["id"] == "answer" and "page.answer()" in "".join(first["source"])
        # its first paragraph is the chapter's card on the landing page
        assert re.match(r"%%answer\n\*\*([^\n]+\n)*[^\n]+\*\*\n\n", "".join(last["source"]))


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.parent.name == "chapters"], ids=lambda p: p.stem)
def test_every_figure_is_referred_to_in_the_text(path):
    figures = set(re.findall(r'"(fig-[\w-]+)"', code(path)))
    assert figures and figures == set(re.findall(r"\{numref}`(fig-[\w-]+)`", told(path)))


def test_every_reference_is_cited_or_linked_and_every_citation_is_a_reference():
    entries = re.findall(
        r"^@\w+\{([^,]+),(.*?)^\}", text("lib/page/references.bib"), re.MULTILINE | re.DOTALL
    )
    known = {key: re.findall(r"(?:url|doi|eprint)\s*=\s*\{+([^}]+)", entry) for key, entry in entries}
    prose = "\n".join(path.read_text("utf-8") for _, path in contents.pages(ROOT))
    uses = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", prose)
    cited = {key.strip() for use in uses for key in use.split(",")}
    assert len(known) == len(entries) > 10 and cited <= set(known)
    assert [key for key in known if key not in cited and not any(link in prose for link in known[key])] == []


def test_every_reference_says_where_it_is():
    entries = re.split(r"^(?=@)", text("lib/page/references.bib"), flags=re.MULTILINE)[1:]
    for entry in entries:
        for field in ("author", "title", "year"):
            assert re.search(rf"^\s*{field}\s*=\s*\{{+.+\}},?$", entry, re.MULTILINE), entry
        assert re.search(r"^\s*(url|doi|eprint)\s*=", entry, re.MULTILINE), entry


def test_the_contents_name_figures_by_chapter_and_the_landing_page_has_one_of_each():
    parts = yaml.safe_load(text("_toc.yml"))["parts"]
    numbered = [page["file"] for part in parts if part.get("numbered") for page in part["chapters"]]
    assert numbered == [f"chapters/{c.name}" for c in contents.chapters(ROOT)]
    keys = re.findall(r"\{keyfigure\} (fig-[\w-]+)", text("intro.md"))
    homes = [next(p.stem for p in NOTEBOOKS if f'"{key}"' in code(p)) for key in keys]
    assert [f"chapters/{name}" for name in homes] == numbered


def test_binder_gets_a_python_that_the_project_supports():
    from packaging.specifiers import SpecifierSet

    found = re.fullmatch(r"python-(3\.\d+)\n", text("runtime.txt"))
    assert found[1] in SpecifierSet(tomllib.loads(text("pyproject.toml"))["project"]["requires-python"])


# ---- library ---------------------------------------------------------------------------------------------


def imports(source: str) -> set[str]:
    """Modules that code imports by name, dotted, and what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_every_module_has_tests():
    """A file of its name in the same folder, or at least one that imports it."""
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    known = set().union(*(imports(path.read_text("utf-8")) for path in tests))
    names = [path.relative_to(ROOT).with_suffix("") for path in MODULES]
    own = {name for name in names if ROOT / "tests" / name.parent / f"test_{name.name}.py" in tests}
    assert own and [name for name in names if name not in own and ".".join(name.parts) not in known] == []


WRONG = {  # a contract, and what breaks it: a module, an import that is wrong there, and how it is told
    "the book is made of the library": [("lib/stats.py", "from book import run", "lib.stats -> book.run")],
    "within the library": [
        ("lib/nets.py", "from lib import train", "lib.nets -> lib.train"),
        ("lib/data.py", "from lib.page import text", "lib.data -> lib.page.text"),
        ("lib/questions/staged.py", "from lib.ensembles import store", "staged -> lib.ensembles.store"),
        ("lib/unheard.py", "", "lib.unheard"),  # a module that no line names
    ],
    "no two modules": [
        ("lib/page/text.py", "from lib.page import figures", ".text -> .figures"),
        ("book/gate.py", "from book import record", ".gate -> .record"),
    ],
    "what only reads": [
        ("lib/page/params.py", "from lib import nets", "lib.page.params -> lib.nets"),
        ("lib/page/claims.py", "from lib.questions import staged", "lib.page.claims -> lib.questions.staged"),
        ("book/record.py", "import tensorflow", "book.record -> tensorflow"),
    ],
}


def test_who_imports_whom_is_as_it_should_be():
    passes(tool("lint-imports"), "--no-cache")


@pytest.mark.parametrize("contract", WRONG)
def test_a_wrong_import_is_found(tmp_path, contract):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line, _ in WRONG[contract]:
        with (tmp_path / name).open("a") as module:
            module.write(f"\n{line}\n")
    command = [tool("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    broken = re.findall(r"^(.*?) BROKEN$", done.stdout.replace(" \n", " "), re.MULTILINE)
    assert done.returncode == 1 and any(words.startswith(contract) for words in broken), done.stdout
    assert [told for *_, told in WRONG[contract] if told not in done.stdout] == [], done.stdout


# ---- what may not be in a public repository --------------------------------------------------------------

PATH = re.compile(r"(?<![\w.:/~<>-])/(?:home|root|Users|work|opt|mnt|workspace|builds)/[\w.~-]+")
HOST = re.compile(r"//(?:[\w.-]+@)?([\w.-]+)")
INDEX = re.compile(r"(?:--?(?:extra-)?index-url|--find-links|--trusted-host)[ =]+(\S+)")
PRIVATE = re.compile(
    r"10\.\d+\.\d+\.\d+|192\.168\.\d+\.\d+|172\.(?:1[6-9]|2\d|3[01])\.\d+\.\d+"
    r"|.*\.(?:local|localdomain|internal|intranet|corp|lan|home)"
)
INDEXES = {"https://pypi.org/simple", "https://download.pytorch.org/whl/cpu"}


def private_parts(content: str) -> list[str]:
    """Paths of a machine and hosts that only some can reach, in a text."""
    hosts = (host.rstrip(".").lower() for host in HOST.findall(content))
    found = PATH.findall(content) + [host for host in hosts if PRIVATE.fullmatch(host)]
    return found + [url for url in INDEX.findall(content) if url.strip("`'\")") not in INDEXES]


def test_no_file_holds_a_machines_path_or_a_private_host():
    own = {str(folder) for folder in (ROOT, Path.home(), Path(sys.prefix)) if len(folder.parts) > 2}
    found = {}
    for name in files():
        try:
            content = text(name)
        except UnicodeDecodeError:
            continue  # a picture
        hits = [path for path in own if path in content]
        hits += [] if name in ON_PATHS else private_parts(content)
        if hits:
            found[name] = hits
    assert not found


PRIVATE_PARTS = (
    "at /home/somebody/book",
    '"/' + 'work/x.ipynb"',  # in two parts, so that no line here is such a path
    "http://10.1.2.3:8080/simple",
    "https://pypi.somewhere.internal/x",
    "pip install --index-url https://mirror.example.org/simple x",
)
PUBLIC_PARTS = (
    "see https://example.org/home/page",
    "chapters/" + "work/x",
    "http://localhost:8000",
    "pip install --index-url https://download.pytorch.org/whl/cpu torch",
)


@pytest.mark.parametrize("content", PRIVATE_PARTS + PUBLIC_PARTS)
def test_a_private_part_is_seen_and_what_only_looks_like_one_is_not(content):
    assert bool(private_parts(content)) == (content in PRIVATE_PARTS)


def test_nothing_generated_is_tracked():
    generated = re.compile(r"(^|/)(_build|__pycache__|\.venv|\.ipynb_checkpoints|[\w.-]+\.egg-info)/|\.npz$")
    assert not [name for name in files() if generated.search(name)]


# ---- documents and commands ------------------------------------------------------------------------------

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "sweeps.md", ".ci/run"]
DOCUMENTS += [str(path.relative_to(ROOT)) for path in WORKFLOWS]
COMMAND = r"(?:^|`|\$ |run: )\s*"  # where a command starts, in prose, in a code block, or in a workflow


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_that_are_named_exist(name):
    content = text(name)
    targets = set(re.findall(r"^([a-z-]+):(?!=)", text("Makefile"), re.MULTILINE))
    named = set(re.findall(COMMAND + r"make ([a-z-]+)", content, re.MULTILINE))
    assert named <= targets
    modules = set(re.findall(r"python -m (?:lib|book)\.(\w+)", content))
    assert modules <= {path.stem for path in MODULES}
    own = set(re.findall(COMMAND + r"sgd-book ([a-z]+)", content, re.MULTILINE))
    assert own <= set(cli.cli.commands)
    assert named or modules or own


def test_readme_names_the_commands_and_what_it_links_to_is_there():
    readme = text("README.md")
    for command in ("make book", "make test", "make preview", "pip install -r requirements.txt"):
        assert command in readme
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", readme)
    assert not [link for link in links if not (ROOT / link).exists()]
    named = re.findall(r"`((?:lib|book|tests|chapters)/[\w/.-]+)`", text("CONTRIBUTING.md"))
    assert [path for path in named if not (ROOT / path).exists() and "wide_nets" not in path] == []
    assert "CC BY-SA 3.0" in readme and "CC BY 4.0" in readme


ANSWERS = {  # words of the README, by chapter, and the claims that let it say so: that hold, and that fail
    "broken_net_recovery": {
        "no gradient gets through": ("dead-outputs", ""),
        "leaves about ten per cent right": ("no-recovery", ""),
        "Shrink all weights, or start again": ("shrinking", ""),
        "a net that was trained before it was broken": ("standstill four-digits", "break-as-written"),
    },
    "greedy_layerwise_training": {
        "all at once, by 0.2 points, as published": ("gap", ""),
        "At half that rate, the other way round": ("", "any-rate"),
        "above that the whole nets break down": ("stability", ""),
    },
    "plateau_after_lr_jump": {
        "is a dead network": ("dead", "optimum"),
        "decided by batch size and input scale": ("picture-one picture-two picture-three", ""),
        "Clip the gradient, or take a lower rate": ("clipping short-steps wait", ""),
    },
    "long_run_sgd_drift": {
        "it falls on, and most of the way, as far as that was followed, is plain descent": (
            "descent-slow descent-fast",
            "cost",
        ),
        "With strong decay it stands still": ("cost-strong", ""),
        "farther than to the nearest copy": ("", "local"),
        "without a barrier on the straight line": ("", "discrete"),
        "On average it is no random walk": ("", "walk-still walk-drawn conv-walk"),
    },
    "your_own_network": {
        "it is right nine times in ten or above": ("rule-overall", ""),
        "six do again what was seen": (
            "relu-outputs-lost nielsen-relu-chance rate-ten-half cost-at-entropy-level chance-at-once-falls "
            "relu-pixels-worse",
            "sigmoid-shares-falls unscaled-adam-stuck",
        ),
    },
}


@pytest.mark.parametrize(
    ("chapter", "words"), [(chapter, words) for chapter, said in ANSWERS.items() for words in said]
)
def test_the_readme_says_what_the_verdicts_say(chapter, words):
    hold, fail = (names.split() for names in ANSWERS[chapter][words])
    recorded = json.loads(text("results/verdicts.json"))[chapter]
    assert words in " ".join(text("README.md").split())
    wanted = dict.fromkeys(hold, "holds") | dict.fromkeys(fail, "fails")
    assert {claim: recorded[claim]["verdict"] for claim in wanted} == wanted != {}


def test_each_claim_could_have_held_and_could_have_failed():
    """With as many networks as were run; the record says at which outcomes."""
    recorded = json.loads(text("results/verdicts.json"))
    claims = {
        f"{chapter}: {id}": claim
        for chapter, stated in recorded.items()
        if chapter != "provenance"
        for id, claim in stated.items()
    }
    in_range = {name: claim for name, claim in claims.items() if claim["verdict"] != "out of range"}
    assert in_range and [n for n, c in in_range.items() if not (c["would_hold"] and c["would_fail"])] == []


def test_readme_rounds_the_recorded_gap():
    gap = json.loads(text("results/verdicts.json"))["greedy_layerwise_training"]["gap"]["value"]
    assert f"all at once, by {gap:.1f} points" in text("README.md")


def test_ci_script_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    passes(shutil.which("bash") or "bash", "-n", ".ci/run")


# ---- workflows -------------------------------------------------------------------------------------------


def test_actions_are_pinned_by_commit_with_one_version_each():
    used = [use for path in WORKFLOWS for use in re.findall(r"uses: (.*)", path.read_text("utf-8"))]
    assert used
    assert not [use for use in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)]
    assert len(set(used)) == len({use.partition("@")[0] for use in used})


def test_only_a_full_book_is_deployed():
    jobs = yaml.safe_load(text(".github/workflows/publish.yml"))["jobs"]
    runs = "\n".join(step.get("run", "") for step in jobs["book"]["steps"])
    assert "make book" in runs and "make gate" in runs and "preview" not in re.findall(r"make (\w+)", runs)
    assert jobs["deploy"]["needs"] == "book"
    assert set(jobs["deploy"]["permissions"]) == {"pages", "id-token"}
    assert jobs["book"]["permissions"] == {"contents": "read", "pages": "read"}
    order = [runs.index(part) for part in ("make test", "SGD_BOOK_URL=", "make book", "make gate")]
    assert order == sorted(order), "tests know no address, the build does"
    check = yaml.safe_load(text(".github/workflows/check.yml"))
    assert all(job["permissions"] == {"contents": "read"} for job in check["jobs"].values())
