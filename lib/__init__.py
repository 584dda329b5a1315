"""Networks, their training, images, and what is measured on them: a small TensorFlow library.

Modules of this folder are functions over arrays; they know no process, no notebook and no page. In
the folders: `questions` trains what the chapters ask for, `ensembles` runs that for many seeds, `page`
is what cells call.
"""

from lib import loaded

loaded.watch()
