"""What results depend on beside code: versions, processor, variables; and how many processes fit."""

import math
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(("version", "limits", "cores"), [
    (2, {"a/b": "max 100000"}, math.inf), (2, {"a/b": "150000 100000"}, 1.5),
    (2, {"a": "50000 100000", "a/b": "150000 100000"}, 0.5), (2, {"": "200000 100000"}, 2),
    (1, {"a/b": "-1 100000"}, math.inf), (1, {"a": "300000 100000"}, 3), (2, {"other": "1 100000"}, math.inf),
])  # fmt: skip
def test_a_quota_of_control_groups_is_the_least_on_the_way_up(version, limits, cores, tmp_path, monkeypatch):
    own, base = tmp_path / "own", tmp_path / ("cpu,cpuacct" if version == 1 else ".")
    own.write_text("4:memory:/a\n" + ("3:cpu,cpuacct:/a/b\n" if version == 1 else "0::/a/b\n"))
    for group, limit in limits.items():
        (base / group).mkdir(parents=True, exist_ok=True)
        files = {"cpu.max": limit}
        if version == 1:
            files = dict(zip(("cpu.cfs_quota_us", "cpu.cfs_period_us"), limit.split(), strict=True))
        for name, text in files.items():
            (base / group / name).write_text(text)
    assert machine.quota(own, tmp_path) == cores
    assert machine.quota(tmp_path / "none", tmp_path) == math.inf
    monkeypatch.setattr(machine, "quota", lambda: cores)
    monkeypatch.setattr(machine, "cores", lambda: list(range(8)))
    assert machine.at_once() == max(1, math.ceil(min(8, cores)))
