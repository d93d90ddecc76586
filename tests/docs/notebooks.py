"""Run a notebook in a kernel of its own and compare what it prints with what it shows.

``python tests/docs/notebooks.py FILE...`` runs notebooks and writes what they printed into them.
Words on stderr are not kept: they are a library's, about the machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from blocks import same, trimmed
from nbclient import NotebookClient
from nbformat import NotebookNode

SECONDS = 300
"""For one cell, on a machine that does much else."""


def run(path: Path) -> NotebookNode:
    """The notebook with the outputs of a run in the folder where it lies, by this Python."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as home:
        environment = os.environ | {
            "HOME": home,
            "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", str(Path.home() / ".config/matplotlib")),
            "EDITVC_AUTHOR": "Ada Park <ada@example.org>",
            "EDITVC_PROGRESS_DELAY": "inf",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        client = NotebookClient(
            notebook, timeout=SECONDS, coalesce_streams=True,
            resources={"metadata": {"path": str(path.parent)}},
        )  # fmt: skip
        kernel = client.create_kernel_manager()
        kernel.transport, kernel.ip = "ipc", f"{home}/kernel"  # no port that others could reach
        client.execute(env=environment)
    for cell in code(notebook):
        cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
        cell.metadata.clear()
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return notebook


def code(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: NotebookNode) -> list[str]:
    """A cell's lines of output, a picture being one line."""
    parts = [
        one.text if one.output_type == "stream"
        else f"({', '.join(sorted(one.get('data', {})))})\n"
        for one in cell.outputs
    ]  # fmt: skip
    return trimmed("".join(parts))


def differences(shown: NotebookNode, ran: NotebookNode) -> list[str]:
    """Cells whose output is not what the notebook shows."""
    return [
        "\n".join([cell.source, "shown:", *printed(cell), "printed:", *printed(now)])
        for cell, now in zip(code(shown), code(ran), strict=True)
        if not same(printed(cell), printed(now))
    ]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        nbformat.write(run(Path(name).resolve()), name)
