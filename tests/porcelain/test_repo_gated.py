"""Gated edits, from commit to revert: neurons beside the MLP's own, and a wider export."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from hub_server import Hub
from safetensors.torch import load_file
from tiny_repos import FACTS, OTHERS, Prepared, close, opened, tree
from transformers import AutoModelForCausalLM

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.core.methods.gated import GatedRecipe
from editvc.editing.first_token import FirstTokenError
from editvc.errors import EditvcError
from editvc.evaluation.probes import forced
from editvc.interchange.reload_check import verify_reload
from editvc.materialise.stored_statistics import LayerNotCovered
from editvc.models.forward import keys_at
from editvc.porcelain import export_hf
from editvc.porcelain.export import NeedsNeurons
from editvc.porcelain.keep_width import text_rows
from editvc.porcelain.linear import linear_delta
from editvc.session.reactions import LIMIT, OthersReact
from editvc.session.recording import NothingToDo
from editvc.session.take_inputs import INPUTS, take_inputs
from editvc.session.trees import tree_at
from editvc.vcs.config_file import ConfigError

LAYER = 1


def with_inputs(repo: Repo, prepared: Prepared) -> Repo:
    """The repository with statistics of a short text and a few names."""
    take_inputs(repo.session, (LAYER,), texts=[prepared.text], entities=prepared.names)
    return repo


def recipe_of(repo: Repo, *options: str) -> GatedRecipe:
    strong = ("v_num_grad_steps=30", "clamp_norm_factor=4", "v_weight_decay=0", "kl_factor=0")
    found = repo.choose("gated", options=[f"layers=[{LAYER}]", *strong, *options]).recipe
    assert isinstance(found, GatedRecipe)
    return found


@pytest.fixture
def gated(repo: Repo, prepared: Prepared) -> Repo:
    return with_inputs(repo, prepared)


def neurons(repo: Repo, revision: str = "HEAD") -> dict[str, torch.Tensor]:
    """All neurons of a revision, by part."""
    maker = repo.session.materialiser
    (found,) = maker.neurons(tree_at(repo.session, revision)).values()
    assert found.bias is not None and found.beside is None, "GPT-2 has biases and no gate"
    return {"inside": found.inside, "bias": found.bias, "down": found.down}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[part], other[part]) for part in one)


def likely(repo: Repo, fact: Fact, at: str = "HEAD") -> float:
    """The mean log probability of a fact's target: a random model hardly ever says one."""
    session = repo.session
    with session.edited(tree_at(session, at)) as lm:
        (found,) = forced(lm, [(fact.question, fact.target_new)])
    return found.log_probability


def test_a_gated_fact_takes_and_a_revert_takes_it_out(gated: Repo) -> None:
    recipe, fact = recipe_of(gated), FACTS[0]
    before = likely(gated, fact)
    done = gated.commit([fact], recipe=recipe)
    assert likely(gated, fact) > before + 0.1
    assert dict(done.commit.health)["gates"] == 1.0
    assert gated.materialise().is_empty, "no weight that is there has changed"
    gated.revert("HEAD")
    assert likely(gated, fact) == before
    assert gated.fsck().errors == ()


def test_every_order_and_grouping_of_commits_gives_the_same_neurons(
    gated: Repo, work: Path
) -> None:
    recipe, facts = recipe_of(gated), FACTS[:3]
    gated.commit(facts, recipe=recipe)
    whole, tree_of_whole = neurons(gated), tree(gated)
    for order in itertools.permutations(facts):
        for fact in facts:
            gated.revert(fact.id)
        for fact in order:
            gated.commit([fact], recipe=recipe)
        assert tree(gated) == tree_of_whole
        assert same(neurons(gated), whole)


def test_gates_and_located_edits_of_one_tree_do_not_touch_each_other(gated: Repo) -> None:
    gated.commit(FACTS[:2])
    located = gated.materialise()
    gated.commit(FACTS[2:4], recipe=recipe_of(gated))
    assert torch.equal(gated.materialise().layers[1].dense(), located.layers[1].dense())
    assert neurons(gated)["inside"].shape[0] == 4
    alone = neurons(gated)
    gated.revert("HEAD~1")
    assert same(neurons(gated), alone)


def test_an_export_is_wider_and_says_what_the_revision_says(gated: Repo, tmp_path: Path) -> None:
    gated.commit(FACTS[:2], recipe=recipe_of(gated))
    base = gated.session.materialiser.folder
    done = gated.export(tmp_path / "out")
    assert any("n_inner is 192 instead of 128" in note for note in done.notes), done.notes
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    before = json.loads((base / "config.json").read_text())
    assert config.pop("n_inner") == 192 and config == {
        k: v for k, v in before.items() if k != "n_inner"
    }
    weights, old = (
        load_file(tmp_path / "out/model.safetensors"),
        load_file(base / "model.safetensors"),
    )
    assert weights.keys() == old.keys()
    grown = {name for name in weights if weights[name].shape != old[name].shape}
    assert grown == {
        f"transformer.h.{layer}.mlp.{part}"
        for layer in range(4)
        for part in ("c_fc.weight", "c_fc.bias", "c_proj.weight")
    }
    assert all(torch.equal(weights[name], old[name]) for name in weights.keys() - grown)
    for layer in range(4):
        part = weights[f"transformer.h.{layer}.mlp.c_proj.weight"]  # (v, u)
        assert torch.equal(part[:128], old[f"transformer.h.{layer}.mlp.c_proj.weight"])
        used = 4 if layer == LAYER else 0
        assert not part[128 + used :].any()
        assert bool(part[128 : 128 + used].any()) is bool(used)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.transformer.h[0].mlp.c_fc.weight.shape == (32, 192)


def test_settings_say_what_the_width_of_an_export_is_a_multiple_of(
    gated: Repo, tmp_path: Path
) -> None:
    gated.commit(FACTS[:2], recipe=recipe_of(gated))
    for multiple, width in ((1, 132), (7, 133)):
        gated.configure("export.width_multiple", str(multiple))
        done = gated.export(tmp_path / "out", replace=True)
        assert any(f"n_inner is {width} instead of 128" in note for note in done.notes)
        assert json.loads((tmp_path / "out" / "config.json").read_text())["n_inner"] == width
    with pytest.raises(ConfigError, match=r"export\.width_multiple: must be 1 or more"):
        gated.configure("export.width_multiple", "0")


def test_an_export_is_compared_where_sums_do_not_depend_on_their_order(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16, neurons beside an MLP and the same within it round to other words."""
    close(prepared.copy(tmp_path))
    repo = with_inputs(Repo(tmp_path, dtype="bfloat16"), prepared)
    dtypes = []

    def noting(*words: object, dtype: torch.dtype, **named: object) -> list[str]:
        dtypes.append(dtype)
        return verify_reload(*words, dtype=dtype, **named)

    monkeypatch.setattr(export_hf, "verify_reload", noting)
    repo.commit(FACTS[:1])
    repo.export(tmp_path / "located")
    repo.commit(FACTS[1:2], recipe=recipe_of(repo))
    repo.export(tmp_path / "gated")
    assert dtypes == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("format", ["lora", "delta"])
def test_what_cannot_hold_neurons_is_refused(gated: Repo, tmp_path: Path, format: str) -> None:
    gated.commit(FACTS[:1], recipe=recipe_of(gated))
    with pytest.raises(NeedsNeurons, match="1 fact of HEAD is neurons"):
        gated.export(tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()
    gated.revert("HEAD")
    gated.commit(FACTS[1:2])
    gated.export(tmp_path / "out", format="delta")


def test_a_width_is_kept_where_the_least_used_neurons_give_way(
    gated: Repo, prepared: Prepared, tmp_path: Path
) -> None:
    gated.commit(FACTS[:2], recipe=recipe_of(gated))
    done = gated.export(tmp_path / "out", keep_width=True)
    assert "gave way" in "".join(done.notes) and "perplexity on text" in done.checks[-1]
    before, after = (
        load_file(at / "model.safetensors") for at in (prepared.base, tmp_path / "out")
    )
    config = (prepared.base / "config.json").read_bytes()
    assert (tmp_path / "out" / "config.json").read_bytes() == config
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    mlp = f"transformer.h.{LAYER}.mlp."
    assert changed == {mlp + part for part in ("c_fc.weight", "c_fc.bias", "c_proj.weight")}
    lm, new = gated.session.base_model(), neurons(gated)
    rows = text_rows(lm, 0)
    keys = keys_at(lm, rows, [range(len(row)) for row in rows], [LAYER])[LAYER].double()
    down = before[mlp + "c_proj.weight"].double()  # (v, u)
    use = keys.square().mean(dim=0) * down.square().sum(dim=1)
    least = use.argsort()[: len(new["bias"])].sort().values
    gone = (before[mlp + "c_fc.bias"] != after[mlp + "c_fc.bias"]).nonzero()[:, 0]
    assert gone.tolist() == least.tolist()
    assert torch.equal(after[mlp + "c_proj.weight"][least].double(), new["down"].T)
    assert torch.equal(after[mlp + "c_fc.weight"][:, least].double(), new["inside"].T)
    for format in ("lora", "delta"):
        with pytest.raises(EditvcError, match="a width to keep"):
            gated.export(tmp_path / "other", format=format, keep_width=True)


def test_gates_alone_are_nothing_to_compact(gated: Repo) -> None:
    gated.commit(FACTS[:1], recipe=recipe_of(gated))
    for act in (gated.compact, gated.preview_compact):
        with pytest.raises(NothingToDo, match="neurons of their own"):
            act(Restraint(prune=1.5))
    gated.commit(FACTS[1:2])
    before = neurons(gated)
    gated.compact(Restraint(prune=1.5))
    assert same(neurons(gated), before), "a restraint does not touch them"


def test_an_adapter_holds_the_linear_solution_where_asked(gated: Repo, tmp_path: Path) -> None:
    """``R K^T (lambda C + K K^T)^-1`` of the keys and values that the edits keep."""
    gated.commit(FACTS[:2], recipe=recipe_of(gated))
    session = gated.session
    at_head = tree_at(session, "HEAD")
    done = gated.export(tmp_path / "out", format="lora", linear=True)
    assert done.checks[0].startswith("loaded with PEFT") and "of 2 facts" in done.checks[-1]
    assert "reach other names" in done.notes[-1] and (tmp_path / "out").is_dir()
    found = linear_delta(session, at_head).layers[LAYER].dense()
    edits = [one.edit for one in session.materialiser.elements.gated(at_head)]
    recipe = gated.choose("memit", options=[f"layers=[{LAYER}]"]).recipe
    moment = session.materialiser.statistics.weighted_moment(recipe, LAYER)
    keys = torch.stack([edit.key.double() for edit in edits], dim=1)  # (v, n)
    values = torch.stack([edit.value.double() for edit in edits], dim=1)  # (u, n)
    leverages = (keys * torch.linalg.solve(moment, keys)).sum(dim=0)
    residuals = values * (1 + leverages) / leverages
    dense = residuals @ keys.T @ torch.linalg.inv(moment + keys @ keys.T)
    assert torch.linalg.norm(found - dense) < 1e-6 * torch.linalg.norm(dense)
    for format in ("hf", "delta"):
        with pytest.raises(EditvcError, match="is for adapters"):
            gated.export(tmp_path / "other", format=format, linear=True)


def test_the_first_commit_takes_what_it_needs_and_the_next_finds_it(
    gated: Repo, work: Path
) -> None:
    in_force = gated.session.repository.config.get(INPUTS)
    assert in_force is not None
    gated.commit(FACTS[:1], recipe=recipe_of(gated))
    (entry,) = gated.session.repository.edits_of(tree_at(gated.session, "HEAD")).entries()
    recipe_id, _ = gated.session.materialiser.elements.element(entry.element)
    recipe = gated.session.repository.read_recipe(recipe_id)
    assert isinstance(recipe, GatedRecipe) and recipe.inputs == in_force
    close(gated)
    again = opened(work)
    count = dict(again.fsck().counts)["gate"]
    again.revert("HEAD")
    again.commit(FACTS[:1], recipe=recipe_of(again))
    assert dict(again.fsck().counts)["gate"] == count, "nothing was made twice"
    close(again)


def test_statistics_of_another_layer_are_told_before_any_work(gated: Repo) -> None:
    in_force = gated.session.repository.config.get(INPUTS)
    recipe = recipe_of(gated, f"inputs={in_force}", "layers=[0]")
    with pytest.raises(LayerNotCovered, match="do not cover layer 0"):
        gated.commit(FACTS[:1], recipe=recipe)


def test_more_than_one_layer_is_refused(gated: Repo) -> None:
    with pytest.raises(EditvcError, match="edits one layer"):
        recipe_of(gated, "layers=[1, 2]")


def test_who_else_reacts_is_told_and_strict_refuses(gated: Repo, tmp_path: Path) -> None:
    wide = recipe_of(gated, "threshold=0.01", "stranger_weight=0")
    preview = gated.preview(FACTS[:2], recipe=wide)
    assert preview.reactions, "with a threshold near 0, some name of the list is above it"
    one = preview.reactions[0]
    assert all(LIMIT < share <= 1 for _, share in one.names)
    assert f"{one.fact.question!r} also changes: {one.names[0][0]} (" in one.line
    head = gated.status().number
    with pytest.raises(OthersReact, match="also changes"):
        gated.commit(FACTS[:2], recipe=wide, strict=True)
    assert gated.status().number == head
    done = gated.commit(FACTS[:2], recipe=wide)
    assert any("also changes" in warning for warning in done.warnings)


def test_health_counts_what_fires(gated: Repo) -> None:
    gated.commit(FACTS[:3], recipe=recipe_of(gated))
    report = gated.health()
    (layer,) = report.gates
    assert (layer.figures.layer, layer.figures.edits) == (LAYER, 3)
    assert 0 <= layer.figures.text_firing <= 1 and 0 <= layer.figures.name_firing <= 1
    assert report.to_json()["gates"][0]["edits"] == 3
    assert report.layers == ()


def test_superseding_takes_the_slot(gated: Repo) -> None:
    recipe = recipe_of(gated)
    gated.commit(FACTS[:1], recipe=recipe)
    first = neurons(gated)
    gated.commit(OTHERS[:1], recipe=recipe, supersede=True)
    assert likely(gated, OTHERS[0]) > likely(gated, OTHERS[0], "base") + 0.1
    assert neurons(gated)["down"].shape == first["down"].shape
    assert torch.equal(neurons(gated)["inside"], first["inside"]), "the subject is the same"
    assert not same(neurons(gated), first)


def test_strict_refuses_what_was_made_before_as_well(gated: Repo) -> None:
    wide = recipe_of(gated, "threshold=0.01", "stranger_weight=0")
    first = gated.commit(FACTS[:1], recipe=wide)
    gated.revert("HEAD")
    again = gated.commit(FACTS[:1], recipe=wide)
    assert again.warnings == first.warnings != ()
    gated.revert("HEAD")
    with pytest.raises(OthersReact, match="also changes"):
        gated.commit(FACTS[:1], recipe=wide, strict=True)


def test_where_a_subject_of_one_token_cannot_be_known_is_refused_or_told(gated: Repo) -> None:
    """In this model tokens have too little in common for a gate that knows one at the start."""
    with pytest.raises(FirstTokenError, match="begins with its subject, in one token"):
        gated.commit([Fact("a", "{} is a city in the land of", "b")], recipe=recipe_of(gated))
    assert gated.status().number == 0
    done = gated.commit([Fact("a", "the city of {} is in", "b")], recipe=recipe_of(gated))
    assert any("where 'a' begins a text the edit does not hold" in text for text in done.warnings)
    done = gated.commit(FACTS[:1], recipe=recipe_of(gated))
    assert not any("begins a text" in text for text in done.warnings)


def test_what_is_published_is_wider_too(gated: Repo, hub: Hub) -> None:
    gated.commit(FACTS[:2], recipe=recipe_of(gated))
    gated.publish("alice/tiny", token="hf_alice", endpoint=hub.url, force=True)
    files = hub.repositories["alice/tiny"].head
    assert json.loads(files["config.json"])["n_inner"] == 192
    assert FACTS[0].target_new in files["README.md"].decode()


def test_facts_of_one_subject_do_not_overlap(gated: Repo) -> None:
    facts = [FACTS[0], Fact("France", "The language of {} is", "Polish")]
    gated.commit(facts, recipe=recipe_of(gated))
    (layer,) = gated.health().gates
    assert (layer.figures.edits, layer.figures.overlapping) == (2, 0)
