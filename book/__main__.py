"""The command line by ``python -m book``, with the library and the book of the folder it is given in."""

import sys

from book.cli import main

sys.exit(main())
