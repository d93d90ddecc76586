"""The documentation as a site: pages with their figures, and nothing that lies beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from blocks import ROOT

# What lies in a docs folder that was worked in.
LITTER = (
    "__pycache__/x.pyc",
    "adr/__pycache__/x.pyc",
    "tool.py",
    "tutorial.md~",
    "tutorial.md.orig",
    "tutorial.md.rej",
    ".draft.md",
    ".ipynb_checkpoints/tutorial.md",
    "adr/.cache/notes.md",
    ".DS_Store",
)
# What mkdocs and its theme make beside one folder a page.
MADE = {
    Path(name) for name in ("404.html", "sitemap.xml", "sitemap.xml.gz", "search/search_index.json")
}


def test_the_site_is_the_pages_alone(tmp_path: Path) -> None:
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    docs = shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns(".*"))
    pages = [path.relative_to(docs) for path in docs.rglob("*.md")]
    for name in LITTER:
        (docs / name).parent.mkdir(exist_ok=True)
        (docs / name).write_text("# Litter\n", "utf-8")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=tmp_path, check=True
    )
    site = tmp_path / "site"
    files = {path.relative_to(site) for path in site.rglob("*") if path.is_file()}
    theme = {path for path in files if path.parts[0] == "assets"}
    folders = {page.parent if page.stem == "index" else page.with_suffix("") for page in pages}
    assert theme, "the theme's own files are no litter"
    figures = {path.relative_to(docs) for path in (docs / "figures").glob("*.svg")}
    assert files - theme == MADE | figures | {folder / "index.html" for folder in folders}
