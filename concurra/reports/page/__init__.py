"""The page of a run: one file of HTML that loads nothing."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pkgutil import get_data

from .data import embedded
from .summary import summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..record import RunRecord

#: The page's script, in the order in which its parts need each other.
_SCRIPTS = ("base", "details", "table", "timeline", "graph", "main")


def render(record: RunRecord) -> str:
    """The page as text.

    No text of a task becomes markup or script: what the template shows is escaped, the
    script is given JSON and makes nothing but nodes of text. Beyond that, the page's
    policy allows no script or style but its own, and lets nothing be loaded.

    :raises ImportError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise ImportError(
            "The HTML report needs Jinja2, which is not installed: "
            'pip install "concurra[report]"',
            name="jinja2",
        ) from error
    style = _dense(_asset("page.css"))
    script = "".join(_dense(_asset(f"{name}.js")) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    template = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).from_string(_asset("page.html"))
    return template.render(
        summary(record),
        version=record.concurra_version,
        started=record.started is not None,
        linked=any(task.depends_on for task in record.tasks),
        policy=_policy(style, script),
        style=style,
        script=script,
        data=embedded(record),
    )


def _asset(name: str) -> str:
    data = get_data(__name__, f"assets/{name}")
    assert data is not None
    return data.decode("utf-8").replace("\r\n", "\n")


def _dense(text: str) -> str:
    """The lines without their indentation, and without those that are comments.

    So in an asset, a string or a comment must not span several lines.
    """
    lines = [line.strip() for line in text.splitlines()]
    return "".join(f"{line}\n" for line in lines if line[:2] not in ("", "//", "/*"))


def _policy(style: str, script: str) -> str:
    """What the browser is told to run: this very style and script, and no more."""

    def source(text: str) -> str:
        digest = b64encode(sha256(text.encode()).digest()).decode()
        return f"'sha256-{digest}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
