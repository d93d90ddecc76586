"""The manual pages: all commands, all that `--help` says, and nothing that groff minds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import ROOT


@pytest.fixture(scope="module")
def pages() -> Iterator[dict[str, str]]:
    pytest.importorskip("click_man")
    sys.path.insert(0, str(ROOT / "docs"))
    from man_pages import pages as made

    yield made()
    sys.path.remove(str(ROOT / "docs"))


def test_every_command_has_one(pages: dict[str, str]) -> None:
    headings = [
        line.split(" ", 1)[1].replace(" ", "-") + ".1"
        for line in (ROOT / "docs" / "cli.md").read_text("utf-8").splitlines()
        if line.startswith(("## editvc", "### editvc"))
    ]
    assert [*pages] == headings


def test_a_page_says_what_the_help_says(pages: dict[str, str]) -> None:
    page = pages["editvc-expire.1"]
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"):
        assert f".SH {section}\n" in page
    assert r"\fB\-\-at\fP DAY" in page and r"editvc expire \-\-at 2027\-12\-31" in page
    assert "A fact holds to the end of that day" in page
    assert ".SH EXIT STATUS\n" in pages["editvc.1"] and "editvc-stats(1)" in pages["editvc.1"]


def test_they_are_the_same_each_time(pages: dict[str, str]) -> None:
    from man_pages import pages as made

    assert made() == pages


def test_words_are_no_requests() -> None:
    from man_pages import _roff

    assert _roff(".TH x\n'so y\na\\b") == "\\&.TH x\n\\&'so y\na\\eb"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_minds_nothing(pages: dict[str, str], tmp_path: Path) -> None:
    for name, text in pages.items():
        (tmp_path / name).write_text(text, "utf-8")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", *pages], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "Take the live facts out of the set" in " ".join(done.stdout.split())
