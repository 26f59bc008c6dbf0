"""Puts a report's page together: one file that asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

SCRIPTS = ("dom.js", "data.js", "list.js", "detail.js", "gallery.js", "main.js")
_ASSETS = "kosmos_eval.report.assets"


def page(view: Mapping[str, Any], payload: Any, images: Any) -> str:
    """The HTML. `view` is what the template shows; the script reads `payload` and `images` as JSON.

    The style and the script are the only ones the page lets run: its policy names them by their hashes, and allows
    nothing else but pictures that are in the file.
    """
    style, script = _asset("report.css"), _script()
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("page.html.j2")
    return template.render(
        view,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        payload=embedded(payload),
        images=embedded(images),
    )


def embedded(value: Any) -> Markup:
    """JSON that no browser takes for markup, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _script() -> str:
    body = "\n".join(_asset(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();\n'


def _asset(name: str) -> str:
    return (files(_ASSETS) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = figure
    environment.filters["p_value"] = p_value
    return environment


def figure(value: float, digits: int = 1, signed: bool = False) -> str:
    """A number with a true minus sign; `signed` shows a plus too, but none of zero."""
    text = f"{round(value, digits) + 0.0:.{digits}f}"
    return f"+{text}" if signed and round(value, digits) > 0 else text.replace("-", "−")


def p_value(p: float) -> str:
    """A p with two figures, as far as it says anything."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
