"""What is wrong with a network: one of the book's mechanisms or none of them, by a rule on measurements."""

from typing import NamedTuple

import numpy as np

from lib.own.sequential import RECTIFIERS, Net, Rule
from lib.own.symptoms import Symptoms, edge

# of the loss of the best output that ignores the image: a loss below the one, or above the other
LEARNED, FLAT = 0.5, 0.95
SHUT = 0.05  # mean slope of a layer's units below which hardly any gradient gets through
MOST = 0.75  # share of a layer's rectifiers that are off for all images, in a network that does not learn
OFF = 0.01  # mean slope of a layer's rectifiers below which it is as good as off
BOUND = 2.0  # rate times sharpness above which a step along the steepest direction grows
SLOW = 10_000  # updates that a network may need for its loss to fall, if it were to fall as at first
TINY = 0.02  # rate times sharpness below which a rate a hundred times as high would still be stable


class Mechanism(NamedTuple):
    """What can be wrong.

    Attributes:
        says: What it is, in a sentence.
        chapter: That explains it; None where there is none.
        remedies: Names in `lib.questions.remedies.LADDER` that go against it.
    """

    says: str
    chapter: str | None
    remedies: tuple[str, ...] = ()


MECHANISMS = {
    "healthy": Mechanism("It learns, or nothing that was measured keeps it from learning.", None),
    "overflow": Mechanism(
        "Steps were so large that a weight or the loss is no finite number any more.",
        "plateau_after_lr_jump",
        ("rate / 10", "clipping", "normalised inputs"),
    ),
    "dead units": Mechanism(
        "A layer of rectifiers is off for all images, or outputs are: no gradient gets through.",
        "plateau_after_lr_jump",
        ("rate / 10", "LeakyReLU", "clipping", "fitting initialisation"),
    ),
    "saturated units": Mechanism(
        "Sigmoids or tanhs stand so far from their middle that their slope is lost, and so is the gradient.",
        "broken_net_recovery",
        ("fitting initialisation", "fitting loss", "rate / 10"),
    ),
    "step too large": Mechanism(
        "All units are alive, but the rate times the sharpness is above 2: steps overshoot.",
        "plateau_after_lr_jump",
        ("rate / 10", "warm-up", "clipping"),
    ),
    "step too small": Mechanism(
        "The gradient is not zero, but the rate times it is so small that the loss hardly falls.",
        "plateau_after_lr_jump",
        ("rate x 10", "fitting initialisation", "normalised inputs"),
    ),
    "none of these": Mechanism("It has not learned, and none of the book's mechanisms is seen.", None),
}


def diagnose(
    found: Symptoms, net: Net, rule: Rule, rate: float, updates: int, learned: np.ndarray | None = None
) -> np.ndarray:
    """Which mechanism each network suffers from, by rule.

    The first that fits: not finite; a loss that has learned, if no output is lost for all images, for its
    class then never comes back; most of a layer of rectifiers, or an output, off for all images; a layer of
    sigmoids or tanhs, or an output, that is all but shut; rate times sharpness above 2; rate times sharpness
    below `TINY`, or a loss that would take more than `SLOW` updates to fall, and not for a decay that takes
    all weights away. A network that was never trained is healthy if none fits.

    Args:
        found: Symptoms of M networks.
        net: What they are built of.
        rule: How they are trained.
        rate: Learning rate.
        updates: That they have had; 0 for fresh networks.
        learned: Whether each has learned (M,); None to go by the loss alone.

    Returns:
        Names in `MECHANISMS` (M,).
    """
    last = found.lost[:, -1]
    kinds = [net.steps[k][0] for k in net.units]
    rectifier = np.isin(kinds, RECTIFIERS)
    off = (found.lost >= MOST) | (found.slope < OFF)
    dead = off[:, :-1][:, rectifier[:-1]].any(axis=1) | (rectifier[-1] & (last > 0))
    smooth = np.isin(kinds, ("sigmoid", "tanh"))
    shut = (found.slope[:, smooth] < SHUT).any(axis=1) | (smooth[-1] & (last > 0))
    steep = edge(found, rule, rate)
    with np.errstate(invalid="ignore"):
        rules = {
            "overflow": ~found.finite,
            "healthy": (found.loss < LEARNED * found.level if learned is None else learned) & ~(last > 0),
            "dead units": dead,
            "saturated units": shut,
            "step too large": steep > BOUND,
            "step too small": ((found.gain * SLOW <= 1) | (steep < TINY))
            & (rule.decay * rate * updates <= 1),
        }
    end = "none of these" if updates else "healthy"
    return np.select(list(rules.values()), list(rules), end)
