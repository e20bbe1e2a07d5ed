"""No import circle in `jconvt/`; each step of a call imports from those below it."""

import ast
from pathlib import Path

import pytest

import jconvt

ROOT = Path(jconvt.__file__).parent
INTEROP = "jconvt.interop"


def module_name(path, root, package):
    """The name by which Python imports the file."""
    parts = [package, *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_types(node):
    """Whether it is ``if TYPE_CHECKING:``, which does not run."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(node):
    """The node and all that runs below it, bodies of functions included."""
    yield node
    children = node.orelse if is_for_types(node) else ast.iter_child_nodes(node)
    for child in children:
        yield from statements(child)


def imported(tree, modules):
    """The modules of the package that the source of one names."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found = full if full in modules else node.module
                if found in modules:
                    yield found


def graph_of(root, package):
    """Module -> the modules that it imports, anywhere in its source."""
    sources = {module_name(p, root, package): p for p in root.rglob("*.py")}
    return {
        name: set(imported(ast.parse(path.read_text()), sources))
        for name, path in sources.items()
    }


def circle(graph, start):
    """A way along the imports from a module back to itself, or None."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop()
        for following in graph[way[-1]]:
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return None


GRAPH = graph_of(ROOT, "jconvt")
STEPS = ("_call", "_lowerings", "_choice", "_maps", "_layers")
"""The packages that are steps of a call, the lowest first."""


@pytest.mark.parametrize("module", sorted(set(GRAPH) - {"jconvt"}))
def test_no_circle(module):
    """Whether the import stands at the top of a file or in a function."""
    assert circle(GRAPH, module) is None


def step_of(module):
    """The place of a module's package among the steps; what users call is above them.

    But the initializers, which know no more than a weight's shape, are below.
    """
    if module == "jconvt.initializers":
        return 0
    package = module.split(".")[1] if "." in module else ""
    return STEPS.index(package) if package in STEPS else len(STEPS)


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_a_step_imports_from_those_below(module):
    above = {name for name in GRAPH[module] if step_of(name) > step_of(module)}
    assert above - {"jconvt"} == set()


def test_the_graph_has_the_imports():
    """Those at the top, those in functions, and not those for types."""
    assert f"{INTEROP}._config" in GRAPH[f"{INTEROP}._ported"]
    assert f"{INTEROP}._nnx" in GRAPH[f"{INTEROP}._ported"]
    assert f"{INTEROP}._torch" in GRAPH[INTEROP]


def test_a_circle_is_seen(tmp_path):
    """One import of it in a function; a third module imports for types alone."""
    for name, source in {
        "__init__": "",
        "a": "def f():\n    from package.b import g\n",
        "b": "import package.a\nfrom package import c\n",
        "c": "import typing\nif typing.TYPE_CHECKING:\n    import package.b\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(source)
    graph = graph_of(tmp_path, "package")
    assert circle(graph, "package.a") == ["package.a", "package.b", "package.a"]
    assert circle(graph, "package.c") is None
