"""What cells of a chapter call: parameters, claims, text, figures, explorable figures, the stamp.

A function belongs here when a notebook calls it and a reader sees what it does. No training, no measuring
(that is `lib`), no files of the book (that is `book`). TensorFlow is not imported here.
"""

from lib.page.cells import answer, show
from lib.page.figures import estimates, figure
from lib.page.params import take as parameters
from lib.page.provenance import stamp
from lib.page.text import table

__all__ = ["answer", "estimates", "figure", "parameters", "show", "stamp", "table"]
