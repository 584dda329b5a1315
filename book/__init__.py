"""What makes the book of the chapters: run them, judge them, build the pages, record verdicts, sweep.

Chapters never import this folder, so that a change here runs none of them again. What cells call is
`lib.page`.

Everywhere ``root`` is the project's folder, ``scale`` one of `run.SCALES`, ``say`` takes a message for who
waits, and a notebook that is no path is its content as nested dicts, of format 4.5.
"""
