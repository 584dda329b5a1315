"""What makes the book of the chapters: run them, judge them, build the pages, record verdicts, sweep.

Chapters never import this folder, so that a change here runs none of them again. What cells call is
`lib.page`.
"""
