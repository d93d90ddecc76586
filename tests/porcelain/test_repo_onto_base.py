"""``rebase --onto-base``: a new release, another tokenizer, facts that no longer take."""

from __future__ import annotations

import shutil
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import byte_bpe, saved, speak_words
from tiny_repos import ADA, FACTS, OTHERS, Prepared, known_fact, tiny_base
from transformers import AutoModelForCausalLM

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.history import Restraint, Tree
from editvc.models.fingerprint import BaseMismatchError
from editvc.porcelain import onto_base
from editvc.session.recording import NothingToDo
from editvc.session.unfinished import Unfinished
from editvc.vcs.known_bases import OverAnotherBase

BO = "Bo <bo@example.org>"


def released(prepared: Prepared, folder: Path, *, in_words: bool = False) -> Path:
    """The base of ``prepared``, trained a little further, as it were; it may speak in words."""
    model = AutoModelForCausalLM.from_pretrained(prepared.base)
    tiny_base(folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * torch.randn_like(weight)
        if in_words:
            speak_words(model, byte_bpe())
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def grown(repo: Repo) -> Repo:
    """Three commits, the second of Bo's, the last one takes a fact out."""
    repo.commit(FACTS[:3], message="Start")
    repo.commit(OTHERS[:1], message="London", author=BO, supersede=True)
    repo.revert(FACTS[1].id, message="No Italy")
    return repo


def carried(repo: Repo, model: Path, prepared: Prepared, **options: object):
    return repo.rebase_onto_base(
        str(model), texts=[prepared.text], entities=prepared.names, **options
    )


def cleared(repo: Repo) -> bool:
    """Whether all is sound once what nobody wants is dropped, however young."""
    repo.session.repository.store.close()  # as the end of a command does
    return not repo.gc(inf).waits and repo.fsck().clean


def ids(*facts: Fact) -> set[str]:
    return {fact.id for fact in facts}


def head_tree(repo: Repo) -> Tree:
    return repo.session.repository.read_tree(repo.log()[0].tree)


def live(repo: Repo, revision: str = "HEAD") -> set[str]:
    return {fact.id for fact in repo.live(revision)}


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model forgets what it was told; let facts that no longer take pass."""
    monkeypatch.setattr(onto_base, "_ended", passing(onto_base._ended))


def passing(ended):
    return lambda *given: ended(*given[:-1], ())


@pytest.mark.usefixtures("trusting")
def test_every_commit_is_made_again_over_the_new_release(
    grown: Repo, prepared: Prepared, work: Path
) -> None:
    old, before = grown.log(), grown.session.repository.read_base()
    recipe = grown.recipe()
    new = released(prepared, work / "new")
    done = carried(grown, new, prepared)
    rows = grown.log()
    assert [(r.message, r.author, r.time, r.edits, r.live) for r in rows] == [
        (r.message, r.author, r.time, r.edits, r.live) for r in old
    ]
    assert rows[-1].parents == () and not {r.id for r in rows} & {r.id for r in old}
    assert live(grown) == ids(OTHERS[0], FACTS[2]) and live(grown, "HEAD~2") == ids(*FACTS[:3])

    base = grown.session.repository.read_base()
    assert base.id != before.id and base.source == str(new)
    assert all(grown.session.repository.read_tree(r.tree).base == base.id for r in rows)
    now = grown.recipe()
    assert now.statistics not in (None, recipe.statistics)
    assert (now.layers, now.v_num_grad_steps) == (recipe.layers, recipe.v_num_grad_steps)
    assert done.before is not None and done.carried.facts == 4 and not done.carried.known
    line = grown.session.repository.refs.reflog("refs/heads/main")[0]
    assert line.old == old[0].id and line.message == f"rebase: onto the base {new}", "one move"
    assert cleared(grown)

    # as if the facts had been committed over the new base from the first
    fresh = Repo.init(work / "fresh", str(new), layers=[1, 2], texts=[prepared.text],
                      entities=prepared.names)  # fmt: skip
    fresh.configure("recipe.v_num_grad_steps", "4")
    fresh.commit([OTHERS[0], FACTS[2]])
    assert fresh.recipe() == now
    deltas = [one.session.materialiser.delta(head_tree(one)) for one in (fresh, grown)]
    for layer in now.layers:
        one, other = (delta.layers[layer].dense() for delta in deltas)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("trusting")
def test_the_old_history_is_read_and_its_base_put_in_force_again(
    grown: Repo, prepared: Prepared, work: Path
) -> None:
    old, recipe = grown.log()[0].id, grown.recipe()
    answer = grown.ask("The capital of France is")
    carried(grown, released(prepared, work / "new"), prepared)
    assert cleared(grown), "gc keeps what either base needs"
    assert grown.show(old).changes.removed and live(grown, old) == ids(OTHERS[0], FACTS[2])
    with pytest.raises(OverAnotherBase) as caught:
        grown.ask("The capital of France is", at=old)
    assert str(prepared.base) in caught.value.hint

    grown.undo(author=ADA)
    assert grown.log()[0].id == old and not grown.status().in_force
    with pytest.raises(OverAnotherBase):
        grown.commit(FACTS[3:4])
    grown.move_base(str(prepared.base))
    assert grown.status().in_force and grown.recipe() == recipe
    assert grown.ask("The capital of France is") == answer
    grown.commit(FACTS[3:4])
    assert cleared(grown)

    statistics = grown.session.repository.bases
    (known,) = [config for base, config in statistics.all() if config.base.model.endswith("new")]
    again = carried(grown, work / "new", prepared)
    assert grown.recipe() == known.recipe, "its statistics were taken already"
    assert again.done.moved and len(grown.log()) == 4


@pytest.mark.usefixtures("trusting")
def test_another_tokenizer_and_another_width(grown: Repo, prepared: Prepared, work: Path) -> None:
    grown.compact(Restraint(rank=2), message="Cut", author=ADA)
    saved(work / "wide", "llama", hidden_size=48, num_hidden_layers=6, intermediate_size=64)
    done = carried(grown, work / "wide", prepared)
    assert done.done.moved and len(grown.log()) == 4
    assert head_tree(grown).restraint == Restraint(rank=2)
    assert max(grown.recipe().layers) < 6 and grown.fsck().clean
    assert len(byte_bpe(bos=True)("x")["input_ids"]) == 2, "the new one puts a token in front"


@pytest.mark.usefixtures("trusting")
def test_what_the_new_base_says_by_itself_is_left_out(
    repo: Repo, prepared: Prepared, work: Path
) -> None:
    new = released(prepared, work / "new", in_words=True)
    known = known_fact(Repo.init(work / "fresh", str(new), layers=[1, 2], later=True))
    was = replace(known, target_new="Rome" if known.target_new != "Rome" else "Paris")
    repo.commit([was, FACTS[2]], message="Start")
    repo.commit([known], message="Right", supersede=True)
    preview = repo.preview_rebase_onto_base(str(new))
    done = carried(repo, new, prepared)
    assert done.carried.known == preview.known == (known,) and preview.facts == 2
    assert live(repo) == ids(FACTS[2]) and live(repo, "HEAD~1") == ids(was, FACTS[2])
    repo.undo(author=ADA)
    repo.move_base(str(prepared.base))
    kept = carried(repo, new, prepared, keep_known=True)
    assert not kept.carried.known and live(repo) == ids(known, FACTS[2])


def test_facts_that_no_longer_take_are_told_and_wait_for_a_word(
    grown: Repo, prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = onto_base.predicts_target
    on_old = iter([[True] * 2, [False, True]] * 2)
    monkeypatch.setattr(onto_base, "predicts_target", lambda lm, r: said(lm, r) and next(on_old))
    old, new = grown.log(), released(prepared, work / "new")
    config = (work / ".editvc" / "config.toml").read_bytes()
    for end in ("abort", "continue"):
        done = carried(grown, new, prepared)
        facts = grown.live()
        assert len(done.failed) == 1 and done.failed[0] in facts and not done.done.moved
        assert grown.log() == old and (work / ".editvc" / "config.toml").read_bytes() == config
        with pytest.raises(Unfinished, match="facts no longer take"):
            grown.commit(FACTS[3:4])
        if end == "abort":
            assert grown.abort("rebase") == old[0].id
        assert cleared(grown), "what waits needs its statistics"
    ended = grown.go_on("rebase")
    assert ended.moved and len(grown.log()) == 3 and grown.status().in_force
    assert grown.session.repository.read_base().source == str(new) and grown.fsck().clean
    grown.commit(FACTS[3:4])


def test_nothing_is_written_where_nothing_can_be_carried(
    grown: Repo, prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = grown.log()[0].id
    assert not carried(grown, prepared.base, prepared).done.moved, "it is the base already"
    near = shutil.copytree(prepared.base, work / "near")
    tensors = load_file(near / "model.safetensors")
    tensors["transformer.h.0.attn.c_attn.bias"] += 1.0
    save_file(tensors, near / "model.safetensors", {"format": "pt"})
    for attempt in (grown.rebase_onto_base, grown.preview_rebase_onto_base):
        with pytest.raises(BaseMismatchError, match="attn"):
            attempt(str(near))
    monkeypatch.setattr("editvc.session.carried.predicts", lambda lm, rows: [True] * len(rows))
    with pytest.raises(NothingToDo, match="says every fact by itself"):
        carried(grown, released(prepared, work / "new"), prepared)
    assert grown.log()[0].id == at and grown.status().in_force


@pytest.mark.usefixtures("trusting")
def test_a_clone_reads_commits_over_a_former_base(
    grown: Repo, prepared: Prepared, work: Path
) -> None:
    old = grown.log()[0].id
    grown.create_branch("before")
    carried(grown, released(prepared, work / "new"), prepared)
    grown.add_remote("origin", str(work / "remote"))
    grown.push(names=["main", "before"])
    Repo.clone(str(work / "remote"), work / "bo", base=str(work / "new"))
    bo = Repo(work / "bo")
    assert [row.id for row in bo.log("origin/before")] == [row.id for row in grown.log(old)]
    assert live(bo, old) == ids(OTHERS[0], FACTS[2]) and bo.show(old).changes.removed
    assert bo.status().in_force
    with pytest.raises(OverAnotherBase):
        bo.ask("The capital of France is", at=old)
    assert cleared(bo) and bo.log("origin/before")[0].id == old

    # The settings of the former base came along: it is put in force as where it was left.
    (known,) = bo.session.repository.bases.files()
    (there,) = grown.session.repository.bases.files()
    assert known.load().recipe == there.load().recipe
    assert str(prepared.base) in there.text() and str(prepared.base) not in known.text()
    bo.move_base(str(prepared.base))
    assert bo.recipe() == there.load().recipe and bo.ask("The capital of France is", at=old)


@pytest.mark.usefixtures("trusting")
def test_a_remote_that_began_without_settings_of_former_bases_gets_them(
    grown: Repo, prepared: Prepared, work: Path
) -> None:
    carried(grown, released(prepared, work / "new"), prepared)
    grown.add_remote("origin", str(work / "remote"))
    bases = grown.session.repository.bases.folder
    bases.rename(work / "aside")
    grown.push()
    (work / "aside").rename(bases)
    assert not grown.push().moved, "they alone are no reason to send anything"
    grown.revert("HEAD")
    grown.push()
    Repo.clone(str(work / "remote"), work / "bo", base=str(work / "new"))
    bo = Repo(work / "bo")
    assert [base for base, _ in bo.session.repository.bases.all()] == [
        base for base, _ in grown.session.repository.bases.all()
    ]
    assert cleared(bo)
