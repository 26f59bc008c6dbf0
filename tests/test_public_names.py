"""The public names: imported lazily, and enough for the built-in tasks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kosmos_eval
from kosmos_eval.plugins import builtin_root

HEAVY = ("torch", "transformers", "numpy", "pandas", "PIL", "scipy", "sklearn", "pydantic", "jinja2")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_light() -> None:
    loaded = python(f"import sys, kosmos_eval; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize("name", kosmos_eval.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(kosmos_eval, name) is not None


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Taks'"):
        kosmos_eval.Taks  # noqa: B018


@pytest.mark.parametrize("path", sorted((builtin_root() / "tasks").glob("*.py")), ids=lambda p: p.stem)
def test_built_in_tasks_use_public_names_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [a.name for a in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            assert module == "kosmos_eval" or module.split(".")[0] in sys.stdlib_module_names
        if modules == ["kosmos_eval"]:
            assert {a.name for a in node.names} <= set(kosmos_eval.__all__)  # type: ignore[union-attr]
