"""Whatever is wrong in a file of facts, `commit` says so in one error and commits nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside
from fact_schemas import SCHEMAS, TABLES, broken
from hypothesis import given, settings
from tiny_repos import contents


@pytest.mark.parametrize("schema", [*SCHEMAS, *TABLES])
def test_200_malformed_files_leave_the_repository_as_it_was(here: Path, schema: str) -> None:
    before = contents(here)

    @settings(max_examples=200, deadline=None)
    @given(broken(schema))
    def refused(text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        ran = inside("commit", "-", "--target", "alt", stdin=data)
        assert (ran.code, ran.out) == (1, "")
        message, *more, hint = ran.err.splitlines()  # a record may lack several fields at once
        assert message.startswith("error: standard input:") and hint.startswith("hint: ")
        assert all(line.startswith("standard input:") for line in more)

    refused()
    assert contents(here) == before
