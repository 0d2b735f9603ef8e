"""Numbers, side by side with what users would pick instead.

::

    python -m tests.benchmarks                      the whole table
    python -m tests.benchmarks --only chain,dag     these rows
    python -m tests.benchmarks --scale 0.1          with a tenth of the tasks

=============  ==============================================================
file           its one job
=============  ==============================================================
`rows`         what a row, a system and a bar are
`threads`      functions in threads
`graphs`       dependencies
`processes`    functions in processes
`commands`     external commands
`output`       what commands print, shown as it comes
`waiting`      sleeping, timeouts, the end of a run
`startup`      the import
`catalogue`    all rows, in the order of the table
`worker`       one measurement, in a process of its own
`measure`      alternating rounds of workers, and their medians
`table`        the table
`plot`         the cost of a task against tasks, dependencies and workers
=============  ==============================================================

To add a row, write a function for each system in the file of its family, and a `Row`
at the end of that file. A system is called with what the row's ``given`` has made,
does all the work, and returns what the row's ``check`` understands.

What counts is the time from adding the first task to the last result in hand, the
start and the end of pools included. Imports are not measured (they have a row of
their own): what a system ``needs`` is imported before the clock starts, for all alike.
"""
