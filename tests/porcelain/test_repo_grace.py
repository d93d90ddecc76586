"""Facts in codebooks, from commit to revert: beside the weights, and never exported as weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from repo_rounding import factors
from tiny_models import lm_of
from tiny_repos import FACTS, OTHERS, same_bits, tree
from tolerances import assert_near, rounding

from editvc import Repo
from editvc.algebra.codebook import Codebook
from editvc.core.methods.grace import GraceRecipe
from editvc.models.generation import generate
from editvc.models.tokenization import tokenize
from editvc.porcelain.export import FORMATS, NotInWeights
from editvc.session.recording import NothingToDo
from editvc.session.trees import tree_at


def codebooks(repo: Repo) -> list[Codebook]:
    """Those of HEAD, with the keys that its facts were made with."""
    elements = repo.session.materialiser.elements
    return elements.codebooks(elements.in_codebooks(tree_at(repo.session, "HEAD")))


@pytest.fixture
def recipe(repo: Repo) -> GraceRecipe:
    found = repo.choose("grace", options=["layers=[2]", "eps=0.01", "edit_lr=0.3"]).recipe
    assert isinstance(found, GraceRecipe)
    return found


def test_the_default_layer_is_three_quarters_up_and_the_numbers_are_those_of_the_row(
    repo: Repo,
) -> None:
    found = repo.choose("grace").recipe
    assert found == GraceRecipe(layers=(2,))


def test_a_published_file_works_as_it_is(repo: Repo, tmp_path: Path) -> None:
    file = tmp_path / "gpt2-xl.yaml"
    file.write_text(
        "alg_name: GRACE\nmodel_name: gpt2-xl\ndevice: 0\n"
        "inner_params:\n- transformer.h[35].mlp.c_fc.weight\n"
        "edit_lr: 1.0\nn_iter: 200\neps: 2.0\ndist_fn: euc\nval_init: cold\nval_train: sgd\n"
        "val_reg: None\nreg: early_stop\nreplacement: replace_last\neps_expand: coverage\n"
        "num_pert: 8\ndropout: 0.0\n"
    )
    chosen = repo.choose(file=file)
    assert chosen.recipe == GraceRecipe(layers=(2,), edit_lr=1.0, n_iter=200, eps=2.0)
    assert {"inner_params", "val_init", "num_pert"} <= set(chosen.aside)


def test_committed_facts_are_said_and_a_revert_takes_them_out(
    repo: Repo, recipe: GraceRecipe
) -> None:
    questions = [fact.question for fact in FACTS]
    before = [repo.ask(question, max_new_tokens=8) for question in questions]
    repo.commit(FACTS[:4], recipe=recipe)
    said = [repo.ask(question, max_new_tokens=8) for question in questions]
    assert all(
        text.strip().startswith(fact.target_new)
        for text, fact in zip(said[:4], FACTS[:4], strict=True)
    )
    assert said[4:] == before[4:]
    assert repo.ask(questions[0], at="base", max_new_tokens=8) == before[0]
    repo.revert(FACTS[0].id)
    assert [repo.ask(question, max_new_tokens=8) for question in questions] == [
        before[0],
        *said[1:],
    ]
    assert not repo.fsck().errors


def test_no_weight_changes_and_the_loaded_model_answers(repo: Repo, recipe: GraceRecipe) -> None:
    result = repo.commit(FACTS[:2], recipe=recipe)
    assert result.commit.delta is None
    assert dict(result.commit.health) == {
        "capacity": 0, "codebook": 2, "delta_norm": 0, "drift": 0,
    }  # fmt: skip
    base, edited = repo.load_model("base"), repo.load_model()
    for name, weight in base.state_dict().items():
        assert torch.equal(weight, edited.state_dict()[name])
    said = generate(lm_of(edited, repo.load_tokenizer()), FACTS[0].question, 8)
    assert said == repo.ask(FACTS[0].question, max_new_tokens=8)
    assert said != generate(lm_of(base, repo.load_tokenizer()), FACTS[0].question, 8)


def test_a_tree_and_its_codebook_are_functions_of_the_set(repo: Repo, recipe: GraceRecipe) -> None:
    for fact in FACTS[:3]:
        repo.commit([fact], recipe=recipe)
    before, (one,) = tree(repo), codebooks(repo)
    repo.revert(FACTS[0].id)
    repo.revert(FACTS[1].id)
    repo.commit([FACTS[3], FACTS[1]], recipe=recipe)
    repo.commit(FACTS[:1], recipe=recipe)
    assert tree(repo) != before
    repo.revert(FACTS[3].id)
    assert tree(repo) == before
    (other,) = codebooks(repo)
    assert torch.equal(one.keys, other.keys) and torch.equal(one.values, other.values)


def test_a_fact_can_be_superseded_in_its_slot(repo: Repo, recipe: GraceRecipe) -> None:
    repo.commit(FACTS[:1], recipe=recipe)
    repo.commit(OTHERS[:1], recipe=recipe, supersede=True)
    said = repo.ask(OTHERS[0].question, max_new_tokens=8)
    assert said.strip().startswith(OTHERS[0].target_new)


def test_weights_and_codebooks_go_side_by_side(repo: Repo, recipe: GraceRecipe) -> None:
    repo.commit(FACTS[:2])
    alone = repo.materialise()
    repo.commit(FACTS[2:4], recipe=recipe)
    assert same_bits(repo.materialise(), alone)
    changes = repo.changes("HEAD~1", "HEAD")
    assert {fact.id for fact in changes.added} == {fact.id for fact in FACTS[2:4]}
    for layer, norm in repo.delta_norms("HEAD~1", "HEAD").items():
        part = alone.layers[layer]
        # By the QR of the factors of both, side by side (H. 19.4).
        terms = 2 * (part.left.numel() + part.right.numel())
        assert_near(norm, 0.0, rounding(terms), scale=2 * factors(part))
    report = repo.health()
    assert (report.codebook.facts, report.codebook.lost) == (2, ())
    assert report.codebook.keys >= 2
    assert report.to_json()["codebook"]["facts"] == 2
    assert all(one.edits == 2 for one in report.layers)


def test_health_names_facts_that_a_split_lost(repo: Repo) -> None:
    """Radii that reach everything: the second target takes half the way to all that is near."""
    wide = repo.choose("grace", options=["layers=[2]", "eps=1000", "n_iter=1"]).recipe
    repo.commit(FACTS, recipe=wide)
    (book,) = codebooks(repo)
    held = repo.session.materialiser.elements.in_codebooks(tree_at(repo.session, "HEAD"))
    expected = {entry.fact for entry, element in held.items() if not book.answers(element)}
    assert {fact.id for fact in repo.health().codebook.lost} == expected


def test_recipes_that_share_a_layer_share_its_codebook(repo: Repo) -> None:
    """Else a wide radius of one would answer in the place of a nearer key of the other."""
    near, wide = (
        repo.choose("grace", options=["layers=[2]", f"eps={eps}", "n_iter=20"]).recipe
        for eps in (0.01, 1000)
    )
    repo.commit(FACTS[:2], recipe=near)
    repo.commit(FACTS[2:4], recipe=wide)
    (book,) = codebooks(repo)
    held = repo.session.materialiser.elements.in_codebooks(tree_at(repo.session, "HEAD"))
    assert all(book.answers(element) for element in held.values())
    assert not repo.health().codebook.lost


def test_codebooks_answer_on_weights_that_other_edits_moved(
    repo: Repo, recipe: GraceRecipe
) -> None:
    """Their keys are read where the prompts are by now, by either order of commits."""
    repo.commit(FACTS[2:5])
    repo.commit(FACTS[:2], recipe=recipe)
    (stored,) = codebooks(repo)
    with repo.session.edited(tree_at(repo.session, "HEAD")) as lm:
        rows = [row for (row,) in tokenize(lm.tokenizer, [fact.request for fact in FACTS[:2]])]
        seen = [plain_key(lm.model, row.ids[: row.target]) for row in rows]
    apart = torch.cdist(torch.stack(seen), stored.keys).min(dim=1).values
    assert (apart > stored.radii.max()).all(), "the keys that they were made with are out of reach"
    assert not repo.evaluate(FACTS[:2]).failed
    model, tokenizer = repo.load_model(), repo.load_tokenizer()
    assert generate(lm_of(model, tokenizer), FACTS[0].question, 8).strip().startswith("Rome")
    before = tree(repo)
    repo.revert("2")
    repo.revert("1")
    repo.commit(FACTS[:2], recipe=recipe)
    repo.commit(FACTS[2:5])
    assert tree(repo) == before and not repo.evaluate(FACTS[:2]).failed


def test_facts_of_a_sequential_commit_stay_when_the_weights_below_go(
    repo: Repo, recipe: GraceRecipe
) -> None:
    repo.commit(FACTS[2:5])
    repo.commit(FACTS[:2], recipe=recipe, sequential=True)
    assert not repo.evaluate(FACTS[:2]).failed
    repo.revert("1")
    assert not repo.evaluate(FACTS[:2]).failed


def plain_key(model: torch.nn.Module, ids: Sequence[int]) -> torch.Tensor:
    """The input of the third block's down projection at the last token."""
    seen: list[torch.Tensor] = []
    module = model.transformer.h[2].mlp.c_proj
    handle = module.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with torch.no_grad():
        model(input_ids=torch.tensor([list(ids)]))
    handle.remove()
    return seen[0][0, -1]


def test_a_squash_leaves_codebook_facts_as_they_are(repo: Repo, recipe: GraceRecipe) -> None:
    repo.commit(FACTS[:2])
    repo.commit(FACTS[2:3], recipe=recipe)
    entry = repo.session.repository.edits_of(tree_at(repo.session, "HEAD")).get(FACTS[2].slot)
    result = repo.squash("1..2")
    assert result.facts == 2
    after = repo.session.repository.edits_of(tree_at(repo.session, "HEAD"))
    assert after.get(FACTS[2].slot) == entry


def test_a_squash_of_nothing_else_is_refused(repo: Repo, recipe: GraceRecipe) -> None:
    repo.commit(FACTS[:1], recipe=recipe)
    with pytest.raises(NothingToDo, match="no located edit"):
        repo.squash("1..1")


@pytest.mark.parametrize("format", FORMATS)
def test_weights_cannot_hold_a_codebook(
    repo: Repo, recipe: GraceRecipe, tmp_path: Path, format: str
) -> None:
    repo.commit(FACTS[:1])
    repo.commit(FACTS[1:3], recipe=recipe)
    with pytest.raises(NotInWeights, match="2 facts of HEAD are in one") as caught:
        repo.export(tmp_path / "out", format=format)
    assert caught.value.facts == 2
    assert "load_model" in caught.value.hint and "revert" in caught.value.hint
    assert not (tmp_path / "out").exists()
    if format.startswith("gguf"):
        return  # which has no name for the tokenizer of this model
    repo.export(tmp_path / "out", format=format, revision="HEAD~1")
    repo.revert("HEAD")
    repo.export(tmp_path / "again", format=format)


def test_publishing_is_refused_before_anything_is_written(repo: Repo, recipe: GraceRecipe) -> None:
    repo.commit(FACTS[:1], recipe=recipe)
    with pytest.raises(NotInWeights, match="1 fact of HEAD is in one"):
        repo.publish("ada/edited")


def test_a_sequential_commit_makes_the_same_kind_of_element(
    repo: Repo, recipe: GraceRecipe
) -> None:
    repo.commit(FACTS[:1])
    repo.commit(FACTS[2:3], recipe=recipe, sequential=True)
    assert dict(repo.log()[0].health)["codebook"] == 1
    assert repo.ask(FACTS[2].question, max_new_tokens=8).strip().startswith("Zürich")
