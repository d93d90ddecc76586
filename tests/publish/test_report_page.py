"""The page of ``report`` in a real browser: read, searched, sorted, in the dark and on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import opened, started

from editvc.publish.report_page import in_script, render_page

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
FACTS = 10_000


def fact(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:010x}", "subject": f"town {number}", "question": f"town {number} lies in",
        "new": f"land {number % 7}", "old": None, "brought": number + 1, "left": None,
        "state": "live", "answer": None, "said": None,
    } | more  # fmt: skip


def commit(name: str, parents: list[str], **more: Any) -> dict[str, Any]:
    return {
        "id": name, "number": 1, "parents": parents, "message": f"commit {name}",
        "author": "Ada <ada@example.org>", "time": "2026-01-01T00:00:00Z", "edits": 1, "live": 1,
        "names": [],
    } | more  # fmt: skip


def content(**more: Any) -> dict[str, Any]:
    """What a page shows, of a history with a merge."""
    return {
        "title": "towns", "revision": "HEAD", "made": "2026-01-01T00:00:00Z", "tree": "e" * 64,
        "base": {"source": "org/model", "id": "b" * 64, "revision": None},
        "health": {
            "verdict": "warn", "reasons": ["layer 2: the norm has grown"], "layers": [],
            "gates": [], "figures": ["drift"], "limits": {"drift": {"warn": 1.0, "refuse": 4.0}},
            "trend": [{"number": n, "drift": 0.3 * n} for n in range(1, 5)],
            "spectra": [{"layer": 2, "values": [3.0, 2.0, 0.5]}],
        },
        "commits": [
            commit("m", ["a", "b"], message=HOSTILE, names=["main"]), commit("b", ["r"]),
            commit("a", ["r"]), commit("r", []),
        ],
        "scores": [], "prompts": [],
        "facts": [fact(0, said=True, answer="land 0."), fact(1, said=False, answer="the sea"),
                  fact(2, state="reverted", left=9), fact(3, question=HOSTILE)],
    } | more  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as one:
        yield one


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return written(tmp_path, content())


def written(folder: Path, shown: dict[str, Any]) -> Path:
    path = folder / "report.html"
    path.write_text(render_page(shown), encoding="utf-8")
    return path


def questions(tab: Any) -> list[str]:
    cells: list[str] = tab.locator("#table tbody tr td:first-child").all_inner_texts()
    return cells


def test_texts_from_outside_are_text(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        assert tab.title() == "towns: HEAD"
        assert HOSTILE in questions(tab)
        assert tab.locator("#commits strong").first.inner_text() == HOSTILE
        assert tab.locator("img").count() == 0


def test_no_other_script_runs_even_where_one_gets_in(browser: Any, page: Path) -> None:
    """The policy in the head: an element that somebody adds does nothing."""
    whole = page.read_text("utf-8")
    page.write_text(whole.replace("<body>", "<body><script>document.title='taken'</script>", 1))
    with (
        pytest.raises(AssertionError, match="Content Security Policy"),
        opened(browser, page) as tab,
    ):
        assert tab.title() == "towns: HEAD"


def test_facts_are_found_by_words_and_by_what_became_of_them(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        assert len(questions(tab)) == 4
        tab.fill("#words", "TOWN sea")
        assert questions(tab) == ["town 1 lies in"]
        assert tab.locator("#count").inner_text() == "1 of 4 facts"
        tab.fill("#words", "")
        for state, expected in (("said", 1), ("drowned", 1), ("reverted", 1), ("not asked", 1)):
            tab.select_option("#state", state)
            assert len(questions(tab)) == expected, state


def test_columns_are_sorted_from_the_keyboard_and_say_so(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        tab.locator("button[data-key=brought]").focus()
        tab.keyboard.press("Enter")
        tab.keyboard.press("Enter")
        assert questions(tab)[1:] == ["town 2 lies in", "town 1 lies in", "town 0 lies in"]
        assert tab.locator("th[aria-sort=descending]").inner_text() == "since commit"
        assert tab.evaluate("document.activeElement.dataset.key") == "brought", "focus stays"


def test_ten_thousand_facts_come_a_hundred_at_a_time(browser: Any, tmp_path: Path) -> None:
    many = [fact(number) for number in range(FACTS)]
    with opened(browser, written(tmp_path, content(facts=many))) as tab:
        assert len(questions(tab)) == 100
        tab.click("#more-facts")
        assert len(questions(tab)) == 200
        tab.fill("#words", "town 9999")
        assert questions(tab) == ["town 9999 lies in"]
        assert not tab.locator("#more-facts").is_visible()


def test_figures_have_names_limits_and_numbers(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        drift = tab.get_by_role("img", name=re.compile("^drift: 1.200 at commit 4, warn at 1"))
        assert drift.locator("line.warn").count() == 1
        assert drift.locator("line.refuse").count() == 0, "too far up to be in sight"
        tab.get_by_text("Numbers").first.click()
        assert tab.locator("#trends td").all_inner_texts()[-1] == "1.200"
        assert tab.locator("#reasons li").all_inner_texts() == ["layer 2: the norm has grown"]


def test_the_graph_has_every_line_between_commits(browser: Any, page: Path) -> None:
    """A merge's two lines out of it, one past the other branch, and both into the first commit."""
    with opened(browser, page) as tab:
        drawn = [tab.locator("#commits svg").nth(row).locator("path").count() for row in range(4)]
        assert drawn == [2, 3, 3, 1]


@pytest.mark.parametrize("width", [320, 800, 1400])
def test_nothing_is_wider_than_the_window(browser: Any, page: Path, width: int) -> None:
    with opened(browser, page, viewport={"width": width, "height": 800}) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_dark_where_the_reader_has_it_dark_and_else_the_same(
    browser: Any, page: Path
) -> None:
    def picture(scheme: str) -> bytes:
        with opened(browser, page, color_scheme=scheme) as tab:
            shot: bytes = tab.screenshot(full_page=True)
            return shot

    light = picture("light")
    assert light == picture("light")
    assert light != picture("dark")


def test_answers_have_their_bars(browser: Any, tmp_path: Path) -> None:
    share = {"share": 0.75, "kind": "located", "question": "town 0 lies in", "new": "land 0",
             "commit": 1, "layers": []}  # fmt: skip
    asked = {"prompt": "Where is town 0?", "before": "the sea", "after": "land 0", "layers": [],
             "shares": [share, {**share, "share": -0.25}]}  # fmt: skip
    with opened(browser, written(tmp_path, content(prompts=[asked]))) as tab:
        assert tab.locator("#answers dd").all_inner_texts() == ["the sea", "land 0"]
        assert [one.split("\n")[0] for one in tab.locator(".bar-row").all_inner_texts()] == [
            "75.0%",
            "-25.0%",
        ]
        assert tab.locator("rect.against").count() == 1


@pytest.fixture(params=["</script>", "<!--", "\u2028", "\x1b[31m", "\u202e", "\ud800"])
def text(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_no_text_ends_the_element_that_it_stands_in(text: str) -> None:
    inside = in_script({"a": [text], "b": float("nan")})
    assert "<" not in inside
    inside.encode()
    read = json.loads(inside)
    assert read["b"] is None
    assert "\x1b" not in read["a"][0] and "\u202e" not in read["a"][0]
