"""What cells of a chapter call: parameters, claims, text, figures, explorable figures, the stamp.

A function belongs here when a notebook calls it and a reader sees what it does. No training, no measuring
(that is `lib`), no files of the book (that is `book`). TensorFlow is not imported here.
"""

from lib.page.figures import figure
from lib.page.provenance import stamp
from lib.page.text import glue, says

__all__ = ["figure", "glue", "says", "stamp"]
