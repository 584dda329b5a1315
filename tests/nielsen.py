"""The network that the engine is held to: one image at a time, in plain NumPy.

The algorithm of ``network.py`` in M. Nielsen, Neural Networks and Deep Learning (Determination Press, 2015),
chapter 1, copyright (c) 2012-2022 Michael Nielsen, MIT licence; written anew in today's Python. Nothing is
vectorised over images on purpose. Shuffling is left to the caller, who hands over the order of each epoch.
"""

from collections.abc import Sequence

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]  # an image (784, 1), and its class as a column of 0s and a 1


def sigmoid(z: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp(800) is infinite, and the quotient rightly zero
        return 1.0 / (1.0 + np.exp(-z))


def sigmoid_prime(z: np.ndarray) -> np.ndarray:
    return sigmoid(z) * (1 - sigmoid(z))


class Network:
    """Weights (n_out, n_in) and biases (n_out, 1) of each layer, as lists."""

    def __init__(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]):
        self.weights = [np.array(w, np.float64) for w in weights]
        self.biases = [np.array(b, np.float64) for b in biases]

    def feedforward(self, a: np.ndarray) -> np.ndarray:
        for w, b in zip(self.weights, self.biases, strict=True):
            a = sigmoid(np.dot(w, a) + b)
        return a

    def epoch(self, training: Sequence[Pair], size: int, eta: float) -> None:
        """One pass in the order given."""
        for k in range(0, len(training), size):
            self.update_mini_batch(training[k : k + size], eta)

    def update_mini_batch(self, batch: Sequence[Pair], eta: float) -> None:
        """One step down the gradient of the mean cost over the batch."""
        nabla_w = [np.zeros(w.shape) for w in self.weights]
        nabla_b = [np.zeros(b.shape) for b in self.biases]
        for x, y in batch:
            delta_nabla_w, delta_nabla_b = self.backprop(x, y)
            nabla_w = [n + d for n, d in zip(nabla_w, delta_nabla_w, strict=True)]
            nabla_b = [n + d for n, d in zip(nabla_b, delta_nabla_b, strict=True)]
        self.weights = [w - eta / len(batch) * n for w, n in zip(self.weights, nabla_w, strict=True)]
        self.biases = [b - eta / len(batch) * n for b, n in zip(self.biases, nabla_b, strict=True)]

    def backprop(self, x: np.ndarray, y: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Gradient of half the squared error of one image."""
        activations, zs = [x], []
        for w, b in zip(self.weights, self.biases, strict=True):
            zs.append(np.dot(w, activations[-1]) + b)
            activations.append(sigmoid(zs[-1]))
        nabla_w, nabla_b = [None] * len(zs), [None] * len(zs)
        delta = (activations[-1] - y) * sigmoid_prime(zs[-1])
        for k in reversed(range(len(zs))):
            if k < len(zs) - 1:
                delta = np.dot(self.weights[k + 1].T, delta) * sigmoid_prime(zs[k])
            nabla_w[k], nabla_b[k] = np.dot(delta, activations[k].T), delta
        return nabla_w, nabla_b

    def evaluate(self, images: Sequence[np.ndarray], digits: Sequence[int]) -> int:
        """How many images have their largest output at their digit."""
        results = zip(images, digits, strict=True)
        return sum(int(np.argmax(self.feedforward(x)) == digit) for x, digit in results)
