"""``commit`` and ``preview``: what is located, what is left out, what is in the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from repo_rounding import located_rounding
from tiny_repos import (
    ADA,
    FACTS,
    FRESH,
    NAMES,
    OTHERS,
    SILENT,
    Prepared,
    close,
    contents,
    known_fact,
    opened,
    tree,
)
from tolerances import assert_near

from editvc import Repo
from editvc.core.fact_files.reader import FactFileError
from editvc.core.facts import Fact
from editvc.core.history import Entry, Restraint
from editvc.core.invisible import UnseenCharacterError
from editvc.core.methods.locate import LocatedRecipe
from editvc.errors import EditvcError
from editvc.materialise.stored_statistics import LayerNotCovered
from editvc.models.tokenization import tokenize
from editvc.session.commit_plan import SlotConflict, UntraceableFact
from editvc.session.entries import make_entries, planned
from editvc.session.recording import NothingToDo


def located_objects(repo: Repo) -> int:
    return dict(repo.fsck().counts)["located"]


@pytest.mark.parametrize("hidden", ["\u200b", "\0", "\u202e"])
def test_no_text_of_a_commit_hides_a_character(repo: Repo, hidden: str) -> None:
    """From Python, where no command line has looked at them."""
    for made in (
        lambda: repo.commit([replace(FACTS[0], subject=f"Fr{hidden}ance")]),
        lambda: repo.commit([replace(FACTS[0], tags=("a", f"b{hidden}"))]),
        lambda: repo.commit(FACTS[:1], message=f"Two{hidden}"),
        lambda: repo.commit(FACTS[:1], author=f"Bo{hidden} <bo@example.org>"),
        lambda: repo.compact(Restraint(), message=f"x{hidden}"),
        lambda: repo.revert("HEAD", message=f"x{hidden}"),
        lambda: repo.squash("1..2", message=f"x{hidden}"),
        lambda: repo.import_patch(Path(), message=f"x{hidden}"),
        lambda: repo.ask(f"x{hidden}"),
        lambda: repo.grep(f"x{hidden}"),
        lambda: repo.choose(options=["contexts=" + json.dumps(["{}", f"x{hidden} {{}}"])]),
    ):
        with pytest.raises(UnseenCharacterError, match="cannot be seen") as caught:
            made()
        assert caught.value.hint
    assert repo.log() == []


def test_a_commit_says_what_it_did(repo: Repo) -> None:
    first = repo.commit(FACTS[:2], message="Two capitals", author="Bo <bo@example.org>")
    second = repo.commit(FACTS[2:3])
    assert first.to_json() == {
        "commit": first.id,
        "number": 1,
        "tree": tree(repo, "1"),
        "edits": 2,
        "live": 2,
        "skipped": [],
        "warnings": [],
        "asked": 0,
        "unsaid": [],
    }
    newest, oldest = repo.log()
    assert (oldest.author, oldest.message) == ("Bo <bo@example.org>", "Two capitals")
    assert (newest.author, newest.message) == (ADA, "Ada Lovelace was born in Zürich")
    assert newest.time == oldest.time + 1, "the clock is the caller's"
    assert (newest.parents, newest.live, newest.edits) == ((oldest.id,), 3, 1)
    assert second.commit.health == newest.health
    assert {name for name, _ in newest.health} == {"delta_norm", "drift", "capacity"}


def test_a_fact_is_located_once(repo: Repo, work: Path) -> None:
    """Not again after a revert, on another branch, in another process, with other words."""
    seen: list[str] = []
    repo.session.progress = lambda label, done, total: seen.append(label)
    repo.commit(FRESH)
    assert seen, "these are new, so they had to be located"
    known, count = repo.session.repository.index.all_located(), located_objects(repo)
    close(repo)
    again = opened(work)
    again.session.progress = lambda label, done, total: pytest.fail(f"{label} took place again")
    again.revert("HEAD")
    again.commit([Fact(*FRESH[0].request.parts, tags=("other words",), source="a book")])
    again.commit(FRESH[1:])
    assert again.session.repository.index.all_located() == known
    assert located_objects(again) == count
    assert "_loaded" not in vars(again.session), "and the model was not even loaded"
    close(again)


def test_no_fact_takes_the_numbers_of_another_request(repo: Repo) -> None:
    fact, recipe = FRESH[0], repo.recipe()
    others = [
        replace(fact, subject="Kyoto"),
        replace(fact, prompt="Everybody likes {} for"),
        replace(fact, target_new="a town"),
    ]

    def make(recipe: LocatedRecipe, *facts: Fact) -> list[Entry]:
        plan = [planned(repo.session, recipe, fact) for fact in facts]
        return make_entries(repo.session, recipe, plan)

    entries = make(recipe, fact, *others) + make(replace(recipe, v_num_grad_steps=3), fact)
    assert len({entry.element for entry in entries}) == 5
    assert make(recipe, replace(fact, tags=("a",)))[0].element == entries[0].element


def test_equal_sources_give_an_equal_recipe(prepared: Prepared, work: Path) -> None:
    def recipe(place: str) -> LocatedRecipe:
        repo = Repo.init(work / place, str(prepared.base), layers=[1, 2], texts=[prepared.text],
                         entities=prepared.names)  # fmt: skip
        return repo.recipe()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several may add in another order each time
    try:
        assert recipe("one") == recipe("other")
    finally:
        torch.set_num_threads(threads)


def test_located_afresh_the_numbers_agree(prepared: Prepared, work: Path) -> None:
    one, other = prepared.copy(work / "one"), prepared.copy(work / "other")
    for repo in (one, other):  # another recipe, so that neither knows the numbers already
        repo.session.repository.set_config("recipe.v_num_grad_steps", "5")
    known = located_objects(one)
    for fact in FACTS:
        one.commit([fact])
    other.commit(FACTS)
    assert located_objects(one) == located_objects(other) == known + len(FACTS)
    for layer in (1, 2):
        a, b = (repo.materialise().layers[layer].dense() for repo in (one, other))
        assert_near(a, b, located_rounding(one, one.recipe(), FACTS, layer))
    assert one.ask(FACTS[0].question) == other.ask(FACTS[0].question)


def test_another_target_in_a_held_slot_is_a_conflict(repo: Repo, work: Path) -> None:
    repo.commit(FACTS)
    before = contents(work)
    with pytest.raises(SlotConflict) as caught:
        repo.commit([FRESH[0], *OTHERS])
    error = caught.value
    assert (error.fact, error.live) == (OTHERS[0], FACTS[0])
    assert "fact 2" in str(error) and "'The capital of France is'" in str(error)
    assert "'Rome'" in str(error) and "'London'" in str(error) and "1 more" in str(error)
    assert "--supersede" in error.hint
    assert contents(work) == before, "all or nothing"


def test_supersede_takes_the_slot_and_a_revert_gives_it_back(repo: Repo) -> None:
    repo.commit(FACTS)
    tree_before = tree(repo)
    result = repo.commit(OTHERS[:1], supersede=True)
    assert (result.commit.edits, result.commit.live) == (1, len(FACTS))
    assert repo.changes("HEAD~1", "HEAD").changed == ((FACTS[0], OTHERS[0]),)
    repo.revert("HEAD")
    assert tree(repo) == tree_before


def test_what_is_live_or_repeated_is_left_out(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    result = repo.commit([FACTS[0], FACTS[1], FACTS[1], FACTS[2]])
    assert result.commit.live == 3
    reasons = {one.fact: one.reason for one in result.skipped}
    assert reasons == {
        FACTS[0]: f"is live already, as fact {FACTS[0].id[:10]}",
        FACTS[1]: "stands at fact 2 (record 2) already",
    }
    with pytest.raises(NothingToDo, match="is live already"):
        repo.commit(FACTS[:3])
    with pytest.raises(NothingToDo, match="no facts given"):
        repo.commit([])
    assert repo.status().number == 2


def test_what_the_base_says_anyway_is_left_out(repo: Repo) -> None:
    known = known_fact(repo)
    result = repo.commit([FRESH[0], known])
    (skipped,) = result.skipped
    assert skipped.fact == known
    assert skipped.reason == f"is known: the base says {known.target_new!r} already"
    with pytest.raises(NothingToDo, match="is known"):
        repo.commit([known])
    wrong = Fact(known.subject, known.prompt, "Babbage")
    repo.commit([wrong])
    back = repo.commit([known], supersede=True)
    assert back.skipped == (), "it replaces an edit that says otherwise, so it is needed"
    assert repo.live()[0] in (known, FRESH[0])


def test_a_target_without_tokens_is_named(repo: Repo, work: Path) -> None:
    before = contents(work)
    with pytest.raises(UntraceableFact) as caught:
        repo.commit([FRESH[0], Fact("Proust", "{} wrote", SILENT)])
    assert "fact 2" in str(caught.value) and "Proust" in str(caught.value)
    assert contents(work) == before


def test_dictionaries_and_files_are_read_like_the_command_line_does(repo: Repo, work: Path) -> None:
    counterfact = {
        "requested_rewrite": {
            "subject": "Proust",
            "prompt": "The native language of {} is",
            "target_new": {"str": "Polish"},
            "relation_id": "P103",
        },
        "paraphrase_prompts": ["Proust grew up speaking"],
    }
    repo.commit([counterfact])
    (fact,) = repo.live()
    assert (fact.relation, fact.paraphrases) == ("P103", ("Proust grew up speaking",))
    (work / "facts.jsonl").write_text(json.dumps(FACTS[0].to_json() | {"kind": None}))
    with pytest.raises(FactFileError, match="kind"):
        repo.commit(work / "facts.jsonl")
    record = {k: v for k, v in FACTS[0].to_json().items() if k != "kind"}
    (work / "facts.jsonl").write_text(json.dumps(record))
    repo.commit(str(work / "facts.jsonl"))
    assert FACTS[0] in repo.live()
    bad = [{"subject": "a", "prompt": "{} b", "target_new": "c"}, {"subject": "a", "prompt": "b c"}]
    with pytest.raises(FactFileError, match="fact 2") as caught:
        repo.commit(bad)
    assert caught.value.field == "prompt"
    assert repo.status().number == 2


def test_a_preview_shows_all_and_writes_nothing(repo: Repo, work: Path) -> None:
    repo.commit([*FACTS[:2], FRESH[1]])
    before = contents(work)
    plan = repo.preview([FACTS[2], FRESH[0], FACTS[1], OTHERS[0]])
    assert [(one.fact, one.stored) for one in plan.facts] == [(FACTS[2], True), (FRESH[0], False)]
    assert [one.fact for one in plan.skipped] == [FACTS[1]]
    assert len(plan.conflicts) == 1 and "'London'" in str(plan.conflicts[0])
    assert isinstance(plan.refusal, SlotConflict) and repo.preview([FACTS[2]]).refusal is None
    ((row,),) = tokenize(repo.load_tokenizer(), [FRESH[0].request])
    marks = plan.facts[1].tokens
    assert [index for index, (_, last, _) in enumerate(marks) if last] == [row.subject]
    assert [index for index, (_, _, aim) in enumerate(marks) if aim] == list(
        range(row.target, len(row.ids))
    )
    assert "".join(text for text, _, _ in marks) == "The native language of Proust is Polish"
    assert plan.memory > 0
    assert repo.preview([FACTS[2]]).memory == 0, "nothing to locate, nothing to hold"
    repo.preview_revert("1")
    repo.preview_revert(FACTS[0].id[:10])
    repo.preview_squash("1..1")
    repo.preview_compact(Restraint(prune=1.5))
    assert contents(work) == before
    assert repo.preview([OTHERS[0]], supersede=True).conflicts == ()


def test_an_unusual_edit_is_named_before_it_is_written(repo: Repo) -> None:
    """Against k C^-1 k and |r|, written out: what stands out by the limits, and nothing else."""
    facts = [*FACTS, *(Fact(name, "The river of {} is", "Rome") for name in NAMES[:3])]
    assert repo.preview(facts).facts
    for name, limit in (("leverage_warn", "1.01"), ("residual_warn", "1.01")):
        repo.session.repository.set_config(f"health.{name}", limit)
    heads: list[object] = []
    result = repo.commit(facts, remark=lambda text: heads.append((text, repo.status().commit)))
    assert [text for text, _ in heads] == list(result.warnings) != []
    assert {commit for _, commit in heads} == {None}, "before the commit, not after it"
    (group,) = repo.session.materialiser.solutions.groups(
        repo.session.repository.tree_of(result.id)
    )
    expected = set()
    for layer, system in group.systems.items():
        edits = system.edits
        moment = repo.session.materialiser.statistics.weighted_moment(group.recipe, layer)
        leverages = (edits.keys * torch.linalg.solve(moment, edits.keys)).sum(0)
        norms = edits.residuals.norm(dim=0)
        for figures in (leverages, norms):
            odd = figures > 1.01 * figures.median()
            expected |= {group.entries[i].fact for i in odd.nonzero().flatten().tolist()}
    named = {fact.id for fact in facts if any(f"fact {fact.id[:10]}" in w for w in result.warnings)}
    assert named == expected
    assert 0 < len(named) < len(facts)


def test_ordinary_edits_raise_no_warning(repo: Repo) -> None:
    facts = [*FACTS, *(Fact(name, "The river of {} is", "Rome") for name in NAMES[:3])]
    assert repo.commit(facts).warnings == ()


def test_a_commit_that_another_process_overtakes_begins_again(repo: Repo, work: Path) -> None:
    """The other one commits after our look at HEAD and before our move of the branch."""
    facts = [*FACTS[1:], *(Fact(name, "The river of {} is", "Rome") for name in NAMES[:3])]
    repo.session.repository.set_config("health.residual_warn", "1.01")
    told: list[str] = []

    def overtake(text: str) -> None:
        if not told:
            other = opened(work)
            other.commit([FACTS[0]], message="Faster")
            close(other)
        told.append(text)

    result = repo.commit(facts, message="Slower", remark=overtake)
    assert [row.message for row in repo.log()] == ["Slower", "Faster"]
    assert (result.commit.number, result.commit.live) == (2, len(facts) + 1)
    assert {fact.id for fact in repo.live()} == {fact.id for fact in (FACTS[0], *facts)}
    assert len(told) == len(set(told)), "nothing is said twice"
    assert repo.fsck().errors == ()


def test_what_would_stop_a_commit_stops_its_preview(repo: Repo) -> None:
    for recipe, error in (
        (replace(repo.recipe(), layers=(0,)), LayerNotCovered),
        (repo.choose("mend").recipe, EditvcError),
    ):
        with pytest.raises(error) as previewed:
            repo.preview(FRESH, recipe=recipe)
        with pytest.raises(error) as committed:
            repo.commit(FRESH, recipe=recipe)
        assert str(previewed.value) == str(committed.value)
    assert not repo.session.holds_model, "nothing had to be loaded to know"
