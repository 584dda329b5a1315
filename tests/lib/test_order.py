"""Orders of images, and their batches."""

import numpy as np
import pytest

from lib import order


def test_shuffled_takes_every_image_once():
    assert sorted(order.epoch(("plateau order", 3, 1), 40)) == list(range(40))
    assert order.epoch(("plateau order", 3, 1), 40).tolist() != list(range(40))


def test_drawn_repeats_images_each_with_the_same_probability():
    epochs = np.stack([order.epoch(("plateau order", 0, k), 43, "drawn") for k in range(100)])
    assert set(epochs.ravel()) == set(range(43))
    assert all(len(set(epoch)) < 40 for epoch in epochs)
    counts = np.bincount(epochs.ravel(), minlength=43)
    assert np.abs(counts - 100).max() < 5 * np.sqrt(100)


@pytest.mark.parametrize("sampling", order.SAMPLING)
def test_an_order_depends_on_all_of_its_stream_alone(sampling):
    pairs = [(purpose, a, b) for purpose in ("plateau order", "jump order") for a in (1, 2) for b in (1, 2)]
    orders = [order.epoch(stream, 40, sampling) for stream in pairs]
    assert len({o.tobytes() for o in orders}) == len(pairs)
    assert all(np.array_equal(order.epoch(s, 40, sampling), o) for s, o in zip(pairs, orders, strict=True))


@pytest.mark.parametrize("images, size, steps", [(40, 8, 5), (43, 8, 5), (7, 7, 1), (7, 1, 7), (9, 5, 1)])
def test_batches_are_whole_and_what_is_left_at_the_end_is_left_out(images, size, steps):
    numbers = order.epoch(("plateau order", 0, 0), images)
    batches = order.batches(numbers, size)
    assert batches.shape == (steps, size)
    assert np.array_equal(batches.ravel(), numbers[: steps * size])


def test_what_is_left_out_changes_with_the_epoch():
    left = {frozenset(order.epoch(("plateau order", 0, epoch), 43)[40:].tolist()) for epoch in range(20)}
    assert len(left) > 10
