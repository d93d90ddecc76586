"""Tags: names of commits that stay, and are revisions wherever one is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_repos import FACTS

from editvc import Repo
from editvc.vcs.refs import BranchExists, BranchNameError, TagExists, TagUnknown
from editvc.vcs.revisions import RevisionError, UnknownRevision


@pytest.fixture
def tagged(repo: Repo) -> Repo:
    """Three commits, the first with a tag."""
    for fact in FACTS[:3]:
        repo.commit([fact])
    repo.create_tag("v1", "1")
    return repo


def test_a_tag_is_a_revision_wherever_one_is_taken(tagged: Repo, work: Path) -> None:
    first = tagged.session.repository.revisions.commit("1")
    assert tagged.show("v1").row.id == tagged.show("refs/tags/v1").row.id == first
    assert [fact.id for fact in tagged.live("v1")] == [FACTS[0].id]
    assert [row.number for row in tagged.log("v1")] == [1]
    assert [row.number for row in tagged.log("v1..HEAD")] == [3, 2]
    assert {fact.id for fact in tagged.changes("v1", "HEAD").added} == {
        fact.id for fact in FACTS[1:3]
    }
    tagged.export(work / "v1", format="delta", revision="v1")
    tagged.create_branch("old", "v1")
    tagged.create_tag("v2", "v1")
    assert {branch.commit for branch in tagged.branches() if branch.name == "old"} == {first}
    with pytest.raises(RevisionError, match="past the first"):
        tagged.show("v1~1")


def test_a_tag_stays_and_its_way_back_is_in_the_reflog(tagged: Repo) -> None:
    first = tagged.show("v1").row.id
    tagged.revert("HEAD")
    assert tagged.show("v1").row.id == first
    assert tagged.fsck().clean
    assert tagged.delete_tag("v1") == first
    assert tagged.tags() == []
    with pytest.raises(UnknownRevision):
        tagged.show("v1")
    assert tagged.session.repository.revisions.resolve("refs/tags/v1@{1}") == first
    assert tagged.fsck().clean
    tagged.create_tag("v1", first)
    assert [tag.commit for tag in tagged.tags()] == [first]


def test_a_name_is_a_branch_or_a_tag_and_never_both(tagged: Repo) -> None:
    with pytest.raises(TagExists):
        tagged.create_tag("v1")
    with pytest.raises(TagExists):
        tagged.create_branch("v1")
    with pytest.raises(BranchExists):
        tagged.create_tag("main")
    with pytest.raises(TagUnknown, match="no tag 'v2'") as unknown:
        tagged.delete_tag("v2")
    assert "v1" in unknown.value.hint
    assert [tag.name for tag in tagged.tags()] == ["v1"]


@pytest.mark.parametrize("name", ["", "12", "a..b", "HEAD", "base", "-x", "a b", "x.lock"])
def test_names_that_mean_something_else_are_refused(tagged: Repo, name: str) -> None:
    with pytest.raises(BranchNameError, match="cannot be a tag name"):
        tagged.create_tag(name)


def test_a_tag_on_nothing(repo: Repo) -> None:
    with pytest.raises(RevisionError):
        repo.create_tag("v1")
    repo.commit(FACTS[:1])
    with pytest.raises(RevisionError, match="base model"):
        repo.create_tag("v0", "base")


def test_a_misspelt_tag_is_suggested(tagged: Repo) -> None:
    tagged.create_tag("release-2024")
    with pytest.raises(UnknownRevision) as caught:
        tagged.show("release-2042")
    assert caught.value.suggestions == ["release-2024"]
