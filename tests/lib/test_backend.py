"""How TensorFlow is set up."""

import os
import runpy
import subprocess
import sys

import pytest

from lib import backend, imported
from lib.backend import tf


def test_no_gpu_is_used(monkeypatch):
    hidden = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *devices: hidden.append(devices))
    runpy.run_path(backend.__file__)
    assert hidden == [([], "GPU")] and imported.tf is tf


@pytest.mark.parametrize(
    "given, wanted",
    [
        (None, "--xla_cpu_prefer_vector_width=512"),
        ("--xla_a=1", "--xla_a=1 --xla_cpu_prefer_vector_width=512"),
        ("--xla_cpu_prefer_vector_width=256", "--xla_cpu_prefer_vector_width=256"),
    ],
)
def test_xla_is_told_of_wide_vectors_unless_the_user_says_otherwise(given, wanted):
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    code = "import lib, os; print(os.environ['XLA_FLAGS'])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=env | ({"XLA_FLAGS": given} if given else {}),
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == wanted


KERAS = """
import atexit, gc, os, sys
atexit.register(lambda: print(gc.get_freeze_count()))  # the last thing of all
if off := "TF_USE_LEGACY_KERAS" in os.environ:  # a user who wants nothing collected has it so
    gc.disable()
import lib.imported
assert sys.platform != "linux" or len(os.listdir("/proc/self/task")) == 1, "it may be forked no more"
assert gc.isenabled() != off and gc.get_freeze_count() > 100_000 > len(gc.get_objects())
from lib.backend import tf
print("keras" in sys.modules, os.environ.get("TF_USE_LEGACY_KERAS"))
from tensorflow.keras import layers
model = tf.keras.Sequential([layers.Dense(2)])
print(tf.keras.__version__[:2], isinstance(model, sys.modules["keras"].Model))
"""


@pytest.mark.parametrize(("given", "wanted"), [(None, "False None"), ("0", "True 0")])
def test_keras_is_imported_by_who_asks_for_it_alone_and_is_the_usual_one(given, wanted):
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    found = subprocess.run(
        [sys.executable, "-c", KERAS],
        env=env | ({"TF_USE_LEGACY_KERAS": given} if given else {}),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.splitlines() == [wanted, "3. True", "0"] and found.stderr == ""
