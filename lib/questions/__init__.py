"""One module a question: the settings of its networks, and the job that trains and measures them.

A job is a function of plain data and seeds that gives one row of arrays for each seed; it knows nothing of
where and how often it is run (that is `lib.ensembles`), nor of pages.
"""
