"""Ends of trainings: what is compared is what the engine trained."""

import numpy as np
import pytest

from lib.questions import ends, staged
from lib.questions.staged import Stage

FIXED = {"images": (100, 40), "sizes": (784, 6, 5, 10), "sd": 0.1, "bias": 0.1, "batch": 10}
ONE = ((6, 0.01), (2, 0.003))


WHOLE, HEAD_START = (Stage(2, ONE),), (Stage(1, ((3, 0.01),)), Stage(2, ONE))


def plan(one=WHOLE, other=HEAD_START, **change):
    return ends.plan(staged.recipe(one, **FIXED), staged.recipe(other, **FIXED | change), 8, 0.01, 3)


def test_the_ends_are_those_of_the_recipes():
    result = ends.job(plan(), [5, 6, 7])
    full = staged.recipe((Stage(2, (*ONE, (8, 0.01))),), **FIXED)
    alone = staged.job(full, [5, 6, 7])
    np.testing.assert_allclose(result["loss"][:, 0], alone["loss"], rtol=1e-4)
    np.testing.assert_allclose(result["moved"][:, 0], np.linalg.norm(alone["moved"], axis=1), rtol=1e-3)
    greedy = (Stage(1, ((3, 0.01),)), Stage(2, (*ONE, (8, 0.01))))
    np.testing.assert_allclose(
        result["loss"][:, 1], staged.job(staged.recipe(greedy, **FIXED), [5, 6, 7])["loss"], rtol=1e-4
    )
    along = result["along"]
    assert along.shape == (3, len(ends.PAIRS), len(ends.MEASURES), 3)
    np.testing.assert_allclose(along[:, 0, 0, [0, 2]], result["loss"][:, :2], rtol=1e-4)
    np.testing.assert_allclose(1 - along[:, 0, 1, [0, 2]], result["right"][:, :2, 1], atol=2e-4)
    assert np.isfinite(along[0]).all() and np.isnan(along[1:, 3:]).all()
    assert result["distance"][0, 4] <= result["distance"][0, 3] + 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"one": (Stage(2, ONE, learns=(0,)),)}, "must train all layers"),
        ({"images": (200, 40)}, "differ in images"),
    ],
)
def test_a_comparison_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plan(**change)
