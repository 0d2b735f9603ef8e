"""The tests of concurra: a package, so that they can share helpers by name."""

import multiprocessing

if multiprocessing.parent_process() is not None:
    from tests import inert

    inert.install()
