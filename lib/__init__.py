"""Networks, their training, images, and what is measured on them: a small TensorFlow library.

Modules of this folder are functions over arrays; they know no process, no notebook and no page. In
the folders: `own` is for what a reader brings, `questions` trains what the chapters ask for, `ensembles`
runs that for many seeds, `page` is what cells call.
"""

import os

from lib import loaded

# Unless told, XLA uses half of a processor's vectors of 512 bits. Set here, before TensorFlow is there, so
# that the keys of finished chunks cover it in every process.
if (_width := "--xla_cpu_prefer_vector_width") not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_width}=512".strip()

loaded.watch()
