"""Reports of the file of a run: ``python -m concurra.reports run.json --dot g.dot``.

The exit code is 0 when all is written, 1 if something cannot be written, and 2 if the
file is not the record of a run, or the arguments are wrong.
"""

from __future__ import annotations

import os
import sys

from .. import reports
from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Final, List, Optional

    from .record import RunRecord

#: By the option: what writes the report, or makes a text of it.
_WRITERS: Final = {
    "html": "write_html",
    "junit": "write_junit_xml",
    "trace": "write_chrome_trace",
    "mermaid": "to_mermaid",
    "dot": "to_dot",
}

_HELP: Final = {
    "html": "a page for a browser (needs Jinja2)",
    "junit": "JUnit XML, for CI servers",
    "trace": "a trace, for https://ui.perfetto.dev",
    "mermaid": "the graph for Mermaid, to put into Markdown",
    "dot": "the graph for Graphviz",
}


def main(arguments: Optional[List[str]] = None) -> int:
    """Write what is asked for; without any option, tell about the run.

    :return: the exit code.
    """
    chosen = vars(_parser().parse_args(arguments))
    try:
        run = reports.load(chosen["run"])
    except (OSError, ValueError) as error:
        return _refuse(2, error)
    wanted = {each: chosen[each] for each in _WRITERS if chosen[each] is not None}
    try:
        if not wanted:
            print(_summary(run))
        for option, target in wanted.items():
            _write(option, run, _standard_output() if target == "-" else target)
    except (OSError, ValueError, ImportError) as error:
        return _refuse(1, error)
    return 0


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m concurra.reports",
        description="Write reports from the file of a run.",
        epilog="For a FILE, - is the standard output.",
    )
    parser.add_argument(
        "run", metavar="RUN", help="what reports.write_json has written"
    )
    for option, told in _HELP.items():
        parser.add_argument(f"--{option}", metavar="FILE", help=told)
    return parser


def _write(option: str, run: RunRecord, target: Any) -> None:
    writer = getattr(reports, _WRITERS[option])
    if option in ("mermaid", "dot"):
        files.write(target, [writer(run)])
    else:
        writer(run, target)


def _standard_output() -> Any:
    """It takes reports in UTF-8, as files do, whatever it takes as text."""
    if sys.stdout is None:
        return os.devnull
    return getattr(sys.stdout, "buffer", sys.stdout)


def _summary(run: RunRecord) -> str:
    from ..encoding import encodable, encoding_of
    from .texts import line

    counts = [f"{many} {status}" for status, many in run.counts.items() if many]
    told = f"{line(run.name)}: {run.state}, {len(run.tasks)} tasks"
    told = f"{told}: {', '.join(counts)}" if counts else told
    return encodable(told, encoding_of(sys.stdout))


def _refuse(code: int, error: Exception) -> int:
    from .texts import line

    print(f"concurra.reports: {line(str(error))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
