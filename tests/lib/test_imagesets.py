"""Images that packages ship or fetch: their form, and what is said where they are missing."""

import importlib.util

import numpy as np
import pytest

from lib import data, imagesets
from lib.backend import tf


@pytest.fixture(autouse=True)
def fresh():
    imagesets.load.cache_clear()
    yield
    imagesets.load.cache_clear()


def test_digits_are_squares_of_three_pixels_in_a_margin_of_two():
    x, y = imagesets.load("digits")
    image = x[0].reshape(28, 28)
    assert x.shape == (1797, 784) and x.dtype == np.uint8 and x.max() == 255
    assert not image[:2].any() and not image[:, -2:].any() and image.any()
    assert np.array_equal(image[2:26:3, 2:26:3].repeat(3, axis=0).repeat(3, axis=1), image[2:26, 2:26])
    assert y[:10].tolist() == list(range(10))
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 0


def test_without_the_package_it_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(data.DataError, match="scikit-learn, which is not installed"):
        imagesets.load("digits")


def test_fashion_is_what_keras_fetches_or_it_is_said_why_not(monkeypatch):
    x, y = np.zeros((60_000, 28, 28), np.uint8), np.arange(60_000) % 10
    fashion = tf.keras.datasets.fashion_mnist
    monkeypatch.setattr(fashion, "load_data", lambda: ((x, y), None))
    assert imagesets.load("fashion")[0].shape == (60_000, 784)
    imagesets.load.cache_clear()

    def offline():
        raise OSError("no network")

    monkeypatch.setattr(fashion, "load_data", offline)
    with pytest.raises(data.DataError, match="could not fetch Fashion-MNIST.*no network"):
        imagesets.load("fashion")
