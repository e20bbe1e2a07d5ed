"""Executes notebooks and stores what they print: `make store-notebooks`.

In place, and without the times of the run: what differs afterwards is the notebook.
Without arguments all of them are executed, else those that are named.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def store(path: Path) -> None:
    """One notebook, in its own folder; what raises is not stored."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    # The versions of one machine's kernel, which the client has filled in.
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        print(path, flush=True)
        store(path)
