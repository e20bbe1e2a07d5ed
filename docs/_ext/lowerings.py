"""A section for each lowering of the table, with the first lines of its file."""

from sphinx.application import Sphinx

from jconvt._lowerings.table import LOWERINGS

MARK = "% every lowering"
_SECTION = """\
### {name}

```{{eval-rst}}
.. automodule:: jconvt._lowerings.{name}
   :no-members:
   :no-index:
```
"""


def expand(app: Sphinx, docname: str, content: list[str]) -> None:
    """The sections in place of the mark."""
    del app, docname
    if MARK in content[0]:
        sections = "\n".join(_SECTION.format(name=name) for name in LOWERINGS)
        content[0] = content[0].replace(MARK, sections)


def setup(app: Sphinx) -> dict[str, bool]:
    """Enter the hook."""
    app.connect("source-read", expand)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
