"""``editvc tag``: made, listed, shown beside commits, deleted with the way back."""

from __future__ import annotations

from pathlib import Path

from cli_runs import inside, written
from tiny_repos import FACTS


def test_tags_from_the_command_line(here: Path) -> None:
    inside("commit", written(here / "f.jsonl", FACTS[:1]))
    assert inside("tag", "v1").out == ""
    inside("revert", "HEAD")
    inside("tag", "gone")
    first = inside("log", "v1", "--json").json[0]["commit"]
    assert inside("tag").out.splitlines()[1] == f"v1 {first[:10]}"
    assert inside("tag", "--json").json[1] == {"name": "v1", "commit": first}
    lines = inside("log", "--oneline").out.splitlines()
    assert "(HEAD -> main, tag: gone)" in lines[0] and f"{first[:10]} (tag: v1) 1" in lines[1]
    assert [row["tags"] for row in inside("log", "--json").json] == [["gone"], ["v1"]]
    ran = inside("tag", "-d", "v1")
    assert ran.code == 0 and f"`editvc tag v1 {first[:10]}` undoes" in ran.out
    assert inside("show", "v1").code == 1
    assert inside("tag", "v1", first[:10]).code == 0
    assert inside("show", "v1", "--json").json["commit"] == first
