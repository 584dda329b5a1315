"""How TensorFlow is set up."""

import os
import runpy
import subprocess
import sys

import pytest

from lib import backend
from lib.backend import tf


def test_no_gpu_is_used(monkeypatch):
    hidden = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *devices: hidden.append(devices))
    runpy.run_path(backend.__file__)
    assert hidden == [([], "GPU")]


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
