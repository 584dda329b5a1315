"""Images as the jobs take them: which, how scaled, read once."""

import numpy as np
import pytest

from lib import data
from lib.questions import images


@pytest.mark.parametrize(("divisor", "dtype"), [(255, "float32"), (256, "float64")])
def test_taught_are_images_of_the_training_file_and_their_classes(divisor, dtype):
    inputs, classes = images.taught(5, 3, divisor, dtype)
    mnist = data.load()
    x, y = data.subset(mnist, 5, 3)
    np.testing.assert_array_equal(inputs.x, data.scale(x, divisor, dtype))
    np.testing.assert_array_equal(classes, np.eye(10)[y])
    assert classes.dtype == dtype and images.taught(5, 3, divisor, dtype)[1] is classes


def test_judged_are_the_test_file_or_a_part_of_the_training_file():
    mnist = data.load()
    x, y = images.judged(None, 255)
    np.testing.assert_array_equal(x, data.scale(mnist.x_test, 255, "float32"))
    np.testing.assert_array_equal(y, mnist.y_test)
    x, y = images.judged((7, 2), 256, "float64")
    np.testing.assert_array_equal(x, data.scale(mnist.x_train[7:9].reshape(2, -1), 256, "float64"))
    np.testing.assert_array_equal(y, mnist.y_train[7:9])
    assert images.judged(None, 255)[0] is images.judged(None, 255)[0]
