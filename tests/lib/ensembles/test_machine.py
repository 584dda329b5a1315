"""What results depend on beside code: versions, processor, variables; and how many processes fit."""

import os
from pathlib import Path

import pytest
from joblib.externals.loky.backend import context

from lib.ensembles import machine

CPU = """processor : 0
vendor_id : Maker
cpu family : 26
model : 2
model name : Chip
stepping : 1
flags : sse2 avx512f

processor : 1
model : 99
"""


def described(monkeypatch, text):
    monkeypatch.setattr(Path, "read_text", lambda self, *_, **__: text)
    return machine.environment(())["processor"]


@pytest.mark.parametrize("old, new", [
    ("family : 26", "family : 25"), ("model : 2", "model : 17"), ("stepping : 1", "stepping : 0"),
    (" avx512f", ""), ("Maker", "Other"), ("Chip", "Chop"),
])  # fmt: skip
def test_processors_of_one_name_are_told_apart(old, new, monkeypatch):
    before = described(monkeypatch, CPU)
    assert described(monkeypatch, CPU.replace(old, new, 1)) != before
    assert described(monkeypatch, CPU.replace("model : 99", "model : 7")) == before, "the first one counts"
    assert described(monkeypatch, CPU.replace("sse2 avx512f", "avx512f sse2")) == before


def test_a_processor_is_named_where_the_system_has_no_list(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(machine.platform, "processor", lambda: "some processor")
    assert machine.processor() == "some processor"


def test_variables_that_choose_the_arithmetic_are_told(monkeypatch):
    before = machine.variables()
    for name in (*machine.THREADS, "TF_CPP_MIN_LOG_LEVEL", "KMP_INIT_AT_FORK", "HOME"):
        monkeypatch.setenv(name, "7")
    assert machine.variables() == before
    for name in ("ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "OPENBLAS_CORETYPE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "another")
            assert f"{name}=another" in machine.variables()


def test_versions_count():
    assert machine.environment(("numpy", "no-such"))["no-such"] == "not installed"
    assert machine.environment(("numpy",))["numpy"][0].isdigit()
    assert {"numpy", "scipy", "tensorflow"} < {*machine.environment()}
    pinned = machine.pinned(Path(machine.__file__).parents[2])
    assert {"numpy", "tensorflow", "keras"} < {*pinned}


def test_as_many_at_once_as_cores_and_quota_allow(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {*range(8)})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for limit, count in (("max 100000", 8), ("150000 100000", 2), ("9900000 100000", 8), ("100 100000", 1)):
        (tmp_path / "cpu.max").write_text(limit)
        monkeypatch.setattr(context, "open", lambda name: open(tmp_path / Path(name).name), raising=False)
        monkeypatch.setattr(os.path, "exists", lambda name: "cpu" in name)
        assert machine.at_once() == count
