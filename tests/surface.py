"""The public surface as text: what `tests/public_surface.txt` holds.

Each public name with its signature as the source writes it, its docstring without the
example, and, for a class, its public methods and properties; then the types that the
signatures name, and the command line. ``python tests/surface.py`` writes the file anew.
"""

import argparse
import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jconvt

SNAPSHOT = Path(__file__).with_name("public_surface.txt")

MODULES = (
    "jconvt",
    "jconvt.initializers",
    "jconvt.interop",
    "jconvt.linen",
    "jconvt.nnx",
    "jconvt.plot",
    "jconvt.sharding",
    "jconvt.streaming",
)
"""What a user may import; the first alone is imported with ``import jconvt``."""

TYPES = (
    ("jconvt._call.arguments", "IntOrInts"),
    ("jconvt._call.arguments", "Padding"),
    ("jconvt._call.arguments", "Shape"),
    ("jconvt._call.geometry", "Size"),
    ("jconvt._call.layout", "DimensionNumbers"),
    ("jconvt._call.numerics", "Precision"),
)
"""Names of this library in annotations: where each is defined."""

PROTOCOL = ("tree_flatten_with_keys", "tree_unflatten")
"""Methods of JAX's pytree protocol, for JAX to call."""


def public() -> dict[str, Any]:
    """Full name -> object, of all that is exported."""
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in map(importlib.import_module, MODULES)
        for name in module.__all__
        if name != "__version__"
    }


def members(cls: type) -> dict[str, Any]:
    """Public methods and properties that this library defines, and ``__call__``."""
    found: dict[str, Any] = {}
    for base in reversed(ours(cls)):
        for name in vars(base):
            value = inspect.getattr_static(base, name)
            if isinstance(value, classmethod | staticmethod):
                value = value.__func__
            shown = inspect.isfunction(value) or isinstance(value, property)
            if shown and (not name.startswith("_") or name == "__call__"):
                found[name] = value
    return dict(sorted(found.items()))


def ours(cls: type) -> list[type]:
    """The class and its bases, without those of other packages."""
    return [base for base in cls.__mro__ if base.__module__.startswith("jconvt")]


# Signatures, as they are written ------------------------------------------------------


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))


def _definition(made: Any) -> Any:
    """The syntax of a function or class."""
    made = inspect.unwrap(made.fget if isinstance(made, property) else made)
    body: list[ast.stmt] = _tree(made.__module__).body
    for part in made.__qualname__.split("."):
        (node,) = (n for n in body if getattr(n, "name", None) == part)
        body = node.body
    return node


def parameters(made: Any) -> dict[str, str]:
    """Name (``*`` and ``/`` too) -> annotation and default, as written."""
    if isinstance(made, type):
        made = _constructor(made)
    if isinstance(made, list):
        return dict(entry for cls in made for entry in _fields(_definition(cls)))
    node: ast.arguments = _definition(made).args
    plain = [*node.posonlyargs, *node.args]
    missing = [None] * (len(plain) - len(node.defaults))
    entries = list(map(_parameter, plain, [*missing, *node.defaults]))
    if node.vararg:
        entries.append(_parameter(node.vararg, None, "*"))
    elif node.kwonlyargs:
        entries.append(("*", ""))
    entries += map(_parameter, node.kwonlyargs, node.kw_defaults)
    if node.kwarg:
        entries.append(_parameter(node.kwarg, None, "**"))
    return {name: rest for name, rest in entries if name not in ("self", "cls")}


def _constructor(cls: type) -> Any:
    """The ``__init__`` that this library wrote, or the classes with the fields."""
    for base in ours(cls):
        own = vars(base).get("__init__")
        if own is not None and own.__module__ == base.__module__:
            written = _definition(base).body
            if any(getattr(n, "name", None) == "__init__" for n in written):
                return own
    return list(reversed(ours(cls)))


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            annotation = ast.unparse(field.annotation)
            if annotation == "KW_ONLY":
                yield "*", ""
            elif not annotation.startswith("ClassVar"):
                yield field.target.id, _typed(annotation, field.value)


def _parameter(
    argument: ast.arg, default: ast.expr | None, stars: str = ""
) -> tuple[str, str]:
    annotation = ast.unparse(argument.annotation) if argument.annotation else None
    return stars + argument.arg, _typed(annotation, default)


def _typed(annotation: str | None, default: ast.expr | None) -> str:
    written = f": {annotation}" if annotation else ""
    return written + (f" = {ast.unparse(default)}" if default is not None else "")


# The text -----------------------------------------------------------------------------


def promises(made: Any) -> str:
    """The docstring up to its example."""
    text = inspect.getdoc(made) or ""
    return re.sub(r"\n\nExample:\n(?:  .*\n?|\n)*", "\n\n", text + "\n").strip()


def _block(name: str, made: Any) -> str:
    head = name
    if not isinstance(made, property):
        listed = "".join(f"\n    {n}{rest}," for n, rest in parameters(made).items())
        head += f"({listed}\n)" if listed else "()"
    if not isinstance(made, type):
        returns = _definition(made).returns
        head += f" -> {ast.unparse(returns)}" if returns is not None else ""
    else:
        foreign = [b for b in ours(made)[-1].__bases__ if b is not object]
        if foreign:
            bases = (f"{b.__module__.split('.')[0]}'s {b.__name__}" for b in foreign)
            head = f"class {head} of {', '.join(bases)}"
        else:
            head = f"class {head}"
    return f"{head}\n{textwrap.indent(promises(made), '    ')}\n"


def _blocks() -> Iterator[str]:
    for name, made in public().items():
        yield _block(name, made)
        if isinstance(made, type):
            for method, value in members(made).items():
                if method not in PROTOCOL:
                    yield _block(f"{name}.{method}", value)
    for module, name in TYPES:
        importlib.import_module(module)
        (value,) = (
            node.value
            for node in _tree(module).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
        )
        yield f"type {name} = {ast.unparse(value)}\n"
    yield from _commands()


def _commands() -> Iterator[str]:
    from jconvt.__main__ import COMMANDS
    from jconvt._shell.command import make_parser

    parser = make_parser(COMMANDS, jconvt.__version__)
    (commands,) = (a for a in parser._actions if a.nargs == argparse.PARSER)
    for command, made in dict(commands.choices or {}).items():
        lines = [f"python -m jconvt {command}"]
        for action in made._actions:
            if action.dest == "help":
                continue
            name = ", ".join(action.option_strings) or action.dest
            default = "" if action.default is None else f" (default {action.default})"
            lines.append(f"    {name}: {action.help}{default}")
        yield "\n".join(lines) + "\n"


def surface() -> str:
    """All of it."""
    return "\n".join(_blocks())


if __name__ == "__main__":
    SNAPSHOT.write_text(surface())
    print(f"written: {SNAPSHOT}")
