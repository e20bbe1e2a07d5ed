"""Signatures as their source has them.

Evaluated, `jax.typing.ArrayLike` is a union of nine types and hides what it stands for.
"""

import ast
import dataclasses
import inspect
import textwrap
from typing import Any

from sphinx.application import Sphinx


def of_source(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None] | None:  # fmt: skip
    """Parameters and result of a function, or of a class's written constructor."""
    del app, name, options
    if what == "class":
        if dataclasses.is_dataclass(obj):
            return _fields(obj), None
        found = _definition(obj.__init__)
        return None if found is None else (_without_self(found), None)
    if what not in ("function", "method"):
        return None
    found = _definition(obj)
    if found is None:
        return arguments, returns
    shown = _without_self(found) if what == "method" else f"({ast.unparse(found.args)})"
    return shown, None if found.returns is None else _text(found.returns)


def _fields(cls: type) -> str:
    """A Linen module's fields; nothing of a dataclass that only the library makes."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if "parent" not in fields:
        return ""
    del fields["parent"], fields["name"]  # which Linen adds
    positional = [f for f in fields.values() if not f.kw_only]
    named = [f for f in fields.values() if f.kw_only]
    shown = [*map(_field, positional), *(["*"] if named else []), *map(_field, named)]
    return f"({', '.join(shown)})"


def _field(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return field.name
    default = getattr(field.default, "__name__", repr(field.default))
    return f"{field.name}={default}"


def _definition(function: Any) -> ast.FunctionDef | None:
    try:
        source = inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):
        return None
    found = ast.parse(textwrap.dedent(source)).body[0]
    return found if isinstance(found, ast.FunctionDef) else None


def _without_self(found: ast.FunctionDef) -> str:
    found.args.args = found.args.args[1:]
    return f"({ast.unparse(found.args)})"


def _text(annotation: ast.expr) -> str:
    """A quoted annotation without its quotes."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)


def setup(app: Sphinx) -> dict[str, bool]:
    """Enter the hook."""
    app.setup_extension("sphinx.ext.autodoc")  # whose event it is
    app.connect("autodoc-process-signature", of_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
