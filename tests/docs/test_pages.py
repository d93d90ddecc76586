"""Every shell and Python block of README and the pages below runs, and prints what it shows.

A change in output is written into the pages by `make docs-output`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import (
    ROOT,
    ForkingSession,
    Session,
    blocks,
    elided,
    run_page,
    same,
    same_number,
    steps,
    warm,
)
from page_models import prepare

PAGES = (
    "README.md", "docs/tutorial.md", "docs/branches.md", "docs/remotes.md", "docs/story.md",
    "docs/python.md", "docs/coming-from.md", "docs/choosing.md", "docs/troubleshooting.md",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    warm()


@pytest.mark.parametrize("name", PAGES)
def test_page_tells_the_truth(name: str, tmp_path: Path) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    prepare(name, tmp_path)
    outcomes = list(run_page(text, ForkingSession(tmp_path.resolve())))
    assert len(outcomes) >= 6
    wrong = [outcome.difference(name) for outcome in outcomes if not outcome.agrees]
    assert not wrong, "\n\n".join(wrong)


def test_readme_python_block_is_that_of_the_python_page() -> None:
    """README's Python block does not run beside its shell blocks; all it calls is run elsewhere."""
    (block,) = [
        block for block in blocks((ROOT / "README.md").read_text("utf-8"))
        if block.language == "python"
    ]  # fmt: skip
    elsewhere = (ROOT / "docs/python.md").read_text("utf-8")
    for call in ("Repo.init(", "repo.commit(", "repo.ask(", "materialise(", "load_model("):
        assert call in "\n".join(block.body)
        assert call in elsewhere


PAGE = """\
```json title="a.txt"
one
```

```console
$ cat a.txt
one
$ printf 'x 1.50\\n'; \\
> echo two
x 1.51
...
two
```
"""


def test_runner_finds_files_commands_and_elisions(tmp_path: Path) -> None:
    outcomes = list(run_page(PAGE, Session(tmp_path)))
    assert [outcome.agrees for outcome in outcomes] == [True, True]
    assert (tmp_path / "a.txt").read_text() == "one\n"


def test_runner_sees_a_wrong_word_a_wrong_number_and_a_missing_line(tmp_path: Path) -> None:
    for told, lie in (("\none\n$", "\nother\n$"), ("x 1.51", "x 1.71"), ("...\ntwo", "...\nthree")):
        assert told in PAGE
        outcomes = list(run_page(PAGE.replace(told, lie), Session(tmp_path)))
        assert not all(outcome.agrees for outcome in outcomes)
    assert not same(["a"], ["a", "b"])
    assert same(["...", "b"], ["a", "b"])
    assert same(["[1 0123456789] m"], ["[1 abcdef0123] m"])
    assert not same(["[1 0123456789] m"], ["[2 abcdef0123] m"])


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("0.0001852", "0.0001864", True),
        ("0.0001852", "0.0001900", False),
        ("1", "0.9999", True),
        ("1", "0.98", False),
        ("0.0", "0.1", True),
        ("0.0", "0.2", False),
        ("2e-05", "1.9e-05", True),
        ("99", "100", False),
        ("3", "4", False),
    ],
)
def test_counts_are_exact_and_figures_nearly_so(shown: str, printed: str, agree: bool) -> None:
    assert same_number(shown, printed) == same_number(printed, shown) == agree


def test_a_console_block_begins_with_a_command() -> None:
    (block,) = blocks("```console\nno command\n```")
    with pytest.raises(ValueError, match="begins with a command"):
        steps(block)


def test_refreshed_output_stays_elided() -> None:
    assert elided(["a", "..."], ["x", "y", "z"]) == ["x", "..."]
    assert elided(["a", "...", "b", "c"], ["x", "y", "z"]) == ["x", "...", "y", "z"]
    assert elided(["a"], ["x", "y"]) == ["x", "y"]
    assert elided(["a", "...", "b", "c"], ["x"]) == ["x"]
