"""Search takes any text as words, and finds a fact by each of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vcs_values import commit_facts, create, fact, move, quick_folder

from editvc.core.facts import Fact
from editvc.core.history import Commit, Tree
from editvc.core.ids import ObjectId
from editvc.vcs.index import Index
from editvc.vcs.index_file import IndexDamaged
from editvc.vcs.index_rows import FactRow, searchable
from editvc.vcs.repository import Repository
from editvc.vcs.search import Search, words_of

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
"""Anything that can be stored: control characters, U+0000 and operators of FTS5 among it."""
named = texts.filter(str.strip)
facts = st.builds(
    Fact,
    subject=named,
    prompt=texts.filter(lambda text: "{" not in text and "}" not in text).map("{{}} {}".format),
    target_new=named,
    target_true=st.none() | texts,
    source=st.none() | texts,
    tags=st.lists(texts, max_size=2).map(tuple),
)

MEANT_TO_BREAK = [
    '"', '""', "'", "*", "a*", "-a", "a -b", "subject:France", "NEAR(a b)", "AND", "OR NOT", "(",
    "a AND (b", "^a", "{a}", "\\", "%", "_", "a\0b", "\0", "", " ", "\ud800", "\udcff x",
    "\ud800abc", "東京", "ß", "İ", "e\u0301", "{}", "\u200b", "ﬃ", "a" * 5000, "é" * 3,
]  # fmt: skip


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with quick_folder() as folder, closing(create(folder)) as repo:
        yield repo.index


def add(index: Index, *facts: Fact) -> None:
    with index.transaction():
        index.add_facts(FactRow.of(one.id, one) for one in facts)


def words(one: Fact) -> set[str]:
    parts = (one.subject, one.prompt, one.target_new, one.target_true, one.source, *one.tags)
    return {word for part in parts if part for word in part.split()}


@given(facts)
def test_a_fact_is_found_by_each_of_its_words_and_by_all(index: Index, one: Fact) -> None:
    add(index, one)
    search = Search(index)
    for word in words(one):
        for spelling in (word, word.upper(), word.lower()):
            if searchable([spelling]) == searchable([word]):
                assert one.id in search.holding(spelling), repr(spelling)
    assert one.id in search.holding(" ".join(words(one)))


@given(facts, st.data())
def test_a_part_of_a_word_is_enough(index: Index, one: Fact, data: st.DataObject) -> None:
    add(index, one)
    text = searchable([one.subject])
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert one.id in Search(index).holding(text[start:end])


@given(texts | st.sampled_from(MEANT_TO_BREAK))
@example("a" * 40_000 + " b" * 40_000)
def test_any_text_finds_what_holds_its_words_and_nothing_else(index: Index, text: str) -> None:
    """The specification is a look at every text."""
    rows = {identifier: row for identifier, (_, row) in index.texts().items()}
    plain = {one for one, row in rows.items() if all(word in row for word in words_of(text))}
    assert Search(index).holding(text) == plain


@pytest.mark.parametrize("text", MEANT_TO_BREAK, ids=ascii)
def test_what_means_something_in_sql_or_fts_is_taken_as_it_stands(index: Index, text: str) -> None:
    clean = text.encode("utf-8", "ignore").decode()
    if not clean.replace("\0", "").strip():
        assert isinstance(Search(index).holding(text), set)
        return
    one = Fact(f"x{clean}y", "{} is", "z")
    add(index, one)
    assert one.id in Search(index).holding(clean)


def test_letters_of_every_script_and_spelling(index: Index) -> None:
    ones = [Fact(name, "{} is", "z") for name in ("東京都知事", "São Paulo", "STRASSE", "ＦＵＬＬ")]
    add(index, *ones)
    find = Search(index).holding
    for text, one in [("京", 0), ("東京", 0), ("京都知", 0), ("SÃO", 1), ("sa\u0303o", 1),
                      ("straße", 2), ("full", 3), ("ｐａｕｌｏ são", 1)]:  # fmt: skip
        assert ones[one].id in find(text), text
    assert ones[1].id not in find("Sao"), "an accent is a difference, as in git grep"
    assert ones[1].id not in find("paulos")


def test_replaced_rows_leave_the_full_text_index(repo: Repository) -> None:
    one = fact(1)
    row = FactRow.of(one.id, one)
    add(repo.index, one)
    with repo.index.transaction():
        repo.index.write("UPDATE search SET text = 'elephant' WHERE id = ?", [(one.id,)])
    other = Repository(repo.folder)
    assert Search(other.index).holding("elephant") == {one.id}
    with repo.index.transaction():
        repo.index.add_facts([row])
    assert Search(other.index).holding("elephant") == set()
    assert Search(other.index).holding("green") == {one.id}
    assert repo.index.problems() == []


def test_a_damaged_full_text_index_is_damage(repo: Repository) -> None:
    add(repo.index, fact(1))
    repo.index.connection.execute("DROP TABLE search_fts_data")
    with pytest.raises(IndexDamaged, match="cannot be used"):
        Search(repo.index).holding("green")
    assert Search(repo.index).holding("1") == {fact(1).id}, "a short word needs none"


def live(repo: Repository, commit: ObjectId) -> set[ObjectId]:
    return {entry.fact for entry in repo.edits_of(repo.tree_of(commit)).entries()}


def emptied(repo: Repository, one: Fact) -> ObjectId:
    """A commit that takes a fact out."""
    head = repo.refs.head().commit
    assert head is not None
    edits = repo.edits_of(repo.tree_of(head)).update({one.slot: None})
    old = repo.read_commit(head)
    tree = repo.write(Tree(base=repo.config.base.id, edits=edits.root))
    commit = Commit(tree, (head,), old.author, old.time, "out", old.number + 1, 1, len(edits), None)
    return repo.record(commit, expected=head, message="out")


def test_the_index_knows_the_live_facts_of_every_commit(repo: Repository) -> None:
    """With what the edit sets say as the specification."""
    search = Search(repo.index)
    first = commit_facts(repo, *(fact(number) for number in range(40)))
    commits = [first, commit_facts(repo, fact(3, "blue"), fact(50))]
    commits += [emptied(repo, fact(3)), commit_facts(repo, fact(3)), emptied(repo, fact(50))]
    move(repo, "refs/heads/main", commits[-1], first)  # and another line from the first on
    commits += [commit_facts(repo, fact(4, "red")), emptied(repo, fact(5))]
    for commit in commits:
        assert set(search.live(commit)) == live(repo, commit)
    brought = search.live(commits[-1])
    assert brought[fact(4, "red").id] == commits[-2] and brought[fact(0).id] == first
    assert search.live(commits[4])[fact(3).id] == commits[3], "the newest commit that brought it"
    view = {ObjectId(row[0]): ObjectId(row[1]) for row in repo.index.rows(
        "SELECT id, commit_id FROM live")}  # fmt: skip
    assert view == brought
    repo.refs.detach(commits[1], author="Ada <>", time=5)
    rows = repo.index.rows("SELECT id FROM live")
    assert {row[0] for row in rows} == live(repo, commits[1]), "of HEAD, detached too"


def test_what_was_ever_committed(repo: Repository) -> None:
    repo.write_fact(fact(99))  # of a commit that never came about
    assert Search(repo.index).ever() == {}
    assert repo.index.rows("SELECT * FROM live") == []
    first = commit_facts(repo, fact(1))
    second = commit_facts(repo, fact(1, "blue"))
    assert Search(repo.index).ever() == {fact(1).id: first, fact(1, "blue").id: second}
