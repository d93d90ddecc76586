"""Every located method through ``commit``: sets, mixed trees, sequences, recipes from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from repo_rounding import factors, located_rounding, solution_rounding
from tiny_repos import FACTS, OTHERS, Prepared, dense, same_bits, tree
from tolerances import assert_near, error

from editvc import Repo
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import NoSuchLayer, RecipeError
from editvc.core.methods.table import METHODS, UnknownMethod
from editvc.session.choose_recipe import choose, to_yaml
from editvc.session.recording import NothingToDo
from editvc.session.trees import tree_at
from editvc.vcs.short_ids import UnknownObject

LOCATED = [name for name, row in METHODS.items() if row.element == "located"]


def small(repo: Repo, name: str) -> LocatedRecipe:
    """The method with few steps; the null space of a tiny model needs a bound of its own."""
    options = {"ultraedit": [], "alphaedit": ["v_num_grad_steps=3", "nullspace_threshold=0.5"]}
    recipe = repo.choose(name, options=options.get(name, ["v_num_grad_steps=3"])).recipe
    assert isinstance(recipe, LocatedRecipe)
    return recipe


@pytest.mark.parametrize("name", LOCATED)
def test_a_set_of_any_method_is_a_function_of_the_set(repo: Repo, name: str) -> None:
    recipe = small(repo, name)
    for fact in FACTS[:3]:
        repo.commit([fact], recipe=recipe)
    one_by_one, delta = tree(repo), repo.materialise()
    assert delta.rank >= 1
    repo.revert(FACTS[0].id)
    repo.commit([FACTS[3], FACTS[0]], recipe=recipe)
    repo.revert(FACTS[1].id)
    repo.revert(FACTS[3].id)
    repo.commit(FACTS[1:2], recipe=recipe)
    assert tree(repo) == one_by_one
    assert same_bits(Repo(repo.session.repository.folder).materialise(), delta)


@pytest.mark.parametrize("name", LOCATED)
def test_the_deltas_of_commits_add_up_to_the_solution(repo: Repo, name: str) -> None:
    recipe, before = small(repo, name), None
    for fact in FACTS[:3]:
        repo.commit([fact], recipe=recipe)
        after = tree_at(repo.session, "HEAD")
        if before is not None:
            change = repo.session.materialiser.solutions.change(before, after)
            difference = repo.session.materialiser.delta(after) - repo.session.materialiser.delta(
                before
            )
            for layer in recipe.layers:
                part, bound = difference.layers[layer], solution_rounding(repo, layer)
                assert_near(dense(change, layer), part.dense(), bound, factors(part))
        before = after
    repo.health()


def test_d4s_has_the_numbers_of_memit(repo: Repo, prepared: Prepared, tmp_path: Path) -> None:
    other = prepared.copy(tmp_path / "other")
    repo.commit(FACTS, recipe=small(repo, "memit"))
    other.commit(FACTS, recipe=small(other, "d4s"))
    memit, d4s = repo.materialise(), other.materialise()
    for layer in memit.layers:
        assert_near(dense(d4s, layer), dense(memit, layer), solution_rounding(repo, layer))


def test_methods_mix_and_are_summed(repo: Repo, prepared: Prepared, tmp_path: Path) -> None:
    parts = []
    for name, facts in (("memit", FACTS[:2]), ("emmet", FACTS[2:4])):
        alone = prepared.copy(tmp_path / name)
        alone.commit(facts, recipe=small(alone, name))
        parts.append(alone.materialise())
        repo.commit(facts, recipe=small(repo, name))
    repo.commit(FACTS[4:5], recipe=small(repo, "rome"), sequential=True)
    entries = repo.session.repository.edits_of(tree_at(repo.session, "HEAD")).entries()
    (patch,) = repo.session.materialiser.elements.patches(entries)
    for layer, whole in repo.materialise().layers.items():
        expected = sum(dense(part, layer) for part in parts)
        if layer in patch.delta.layers:
            expected = expected + dense(patch.delta, layer)
        assert_near(whole.dense(), expected, solution_rounding(repo, layer))
    assert not repo.fsck().errors


@pytest.mark.parametrize("name", ["memit", "rome", "alphaedit", "ultraedit"])
def test_sequential_edits_are_patches_that_can_be_taken_out(repo: Repo, name: str) -> None:
    recipe = small(repo, name)
    repo.commit(FACTS[:1], recipe=recipe, sequential=True)
    first = tree(repo)
    repo.commit(FACTS[1:3], recipe=recipe, sequential=True)
    entries = list(repo.session.repository.edits_of(tree_at(repo.session, "HEAD")).entries())
    patches = repo.session.materialiser.elements.patches(entries)
    assert len(patches) == 3
    assert {part.rank for patch in patches for part in patch.delta.layers.values()} == {1}
    repo.revert("HEAD")
    assert tree(repo) == first
    with pytest.raises(NothingToDo, match="no located edit"):
        repo.squash("3..3")


def test_a_sequential_edit_depends_on_what_is_live(
    repo: Repo, prepared: Prepared, tmp_path: Path
) -> None:
    recipe = small(repo, "memit")
    repo.commit(FACTS[:1], recipe=recipe, sequential=True)
    alone = repo.materialise()
    other = prepared.copy(tmp_path / "other")
    other.commit(FACTS[1:2], recipe=recipe, sequential=True)
    before = other.materialise()
    other.commit(FACTS[:1], recipe=recipe, sequential=True)
    after = other.materialise()
    layer = recipe.layers[-1]
    step = dense(after, layer) - dense(before, layer)
    assert error(step, dense(alone, layer)) > 1e-3


def test_a_squash_keeps_the_method_of_each_edit(repo: Repo) -> None:
    repo.commit(FACTS[:2], recipe=small(repo, "memit"))
    repo.commit(FACTS[2:4], recipe=small(repo, "emmet"))
    repo.commit(FACTS[4:5], recipe=small(repo, "memit"), sequential=True)
    patch = repo.session.repository.edits_of(tree_at(repo.session, "HEAD")).get(FACTS[4].slot)
    assert repo.squash("1..3").facts == 4
    groups = repo.session.materialiser.solutions.groups(tree_at(repo.session, "HEAD"))
    assert sorted(group.recipe.method for group in groups) == ["emmet", "memit"]
    assert (
        repo.session.repository.edits_of(tree_at(repo.session, "HEAD")).get(FACTS[4].slot) == patch
    )


def test_the_recipe_in_force_is_what_nothing_said_gives(repo: Repo) -> None:
    assert repo.choose().recipe == repo.recipe()
    assert repo.choose("memit").recipe == repo.recipe()


def test_options_come_over_a_file_over_the_row(repo: Repo, tmp_path: Path) -> None:
    file = tmp_path / "rome.yaml"
    file.write_text("method: rome\nclamp_norm_factor: 3\nv_lr: 5e-1\nlayers: 1\n")
    recipe = choose(repo.session, None, ["clamp_norm_factor=2.5", "kl_factor=1e-1"], file).recipe
    assert isinstance(recipe, LocatedRecipe)
    assert (recipe.method, recipe.layers, recipe.v_lr) == ("rome", (1,), 0.5)
    assert (recipe.clamp_norm_factor, recipe.kl_factor) == (2.5, 0.1)
    assert recipe.statistics == repo.recipe().statistics
    assert recipe.entity_statistics is None and recipe.sensitivity is None


def test_a_recipe_survives_being_shared(repo: Repo, tmp_path: Path) -> None:
    for name in LOCATED:
        recipe = repo.choose(name, options=["layers=[2]"]).recipe
        (tmp_path / "shared.yaml").write_text(to_yaml(recipe))
        assert choose(repo.session, None, [], tmp_path / "shared.yaml").recipe == recipe


def test_a_published_file_works_as_it_is(repo: Repo, tmp_path: Path) -> None:
    file = tmp_path / "gpt2.json"
    file.write_text(
        '{"layers": [1, 2], "clamp_norm_factor": 0.75, "layer_selection": "all",'
        '"fact_token": "subject_last", "v_num_grad_steps": 3, "v_lr": 5e-1, "v_loss_layer": 47,'
        '"v_weight_decay": 0.5, "kl_factor": 0.0625, "mom2_adjustment": true,'
        '"mom2_update_weight": 20000, "rewrite_module_tmp": "transformer.h.{}.mlp.c_proj"}'
    )
    chosen = repo.choose(file=file)
    assert "rewrite_module_tmp" in chosen.aside
    recipe = chosen.recipe
    assert isinstance(recipe, LocatedRecipe) and recipe.mom2_update_weight == 20000
    assert recipe.compensation == 0 and recipe.delivery_factor == 1
    assert recipe.entity_statistics is None and recipe.sensitivity is None
    assert repo.commit(FACTS[:1], recipe=recipe).commit.live == 1


@pytest.mark.parametrize(
    ("method", "options", "text", "words"),
    [
        ("romme", [], None, "unknown method"),
        ("rome", ["v_lr"], None, "key=value"),
        ("rome", ["v_lr=fast"], None, "v_lr must be a number"),
        ("rome", ["v_num_grad_steps=2.5"], None, "v_num_grad_steps must be a whole number"),
        ("rome", ["layers=[1, 2]"], None, "rome edits one layer"),
        ("rome", ["speed=1"], None, "unknown recipe keys"),
        ("rome", ["v_lr=true"], None, "v_lr must be a number"),
        ("rome", ["v_num_grad_steps=.inf"], None, "v_num_grad_steps must be a whole number"),
        ("memit", ["layers=[1.7]"], None, "layers must be a list of whole numbers"),
        ("memit", ["method=rome"], None, "two methods are named"),
        ("alphaedit", ["compensation=0.5"], None, "compensation means nothing to alphaedit"),
        ("memit", ["clamp_norm_factor=-1"], None, "clamp_norm_factor must be positive"),
        (None, [], "- a\n- b\n", "holds no mapping"),
        (None, [], "a: [", "cannot be read"),
        (None, [], "alg_name: WISE\n", "no method of editvc"),
    ],
)
def test_what_cannot_be_a_recipe_says_so(
    repo: Repo, tmp_path: Path, method: str, options: list[str], text: str | None, words: str
) -> None:
    file = None
    if text is not None:
        file = tmp_path / "recipe.yaml"
        file.write_text(text)
    with pytest.raises((RecipeError, UnknownMethod), match=words):
        repo.choose(method, options=options, file=file)


def test_statistics_may_be_named_by_a_few_digits(repo: Repo, tmp_path: Path) -> None:
    config = repo.recipe()
    options = [
        f"{name}={getattr(config, name)[:6]}"
        for name in ("statistics", "entity_statistics", "sensitivity")
    ]
    assert repo.choose(options=options).recipe == config
    assert repo.choose(options=["sensitivity=", "entity_statistics=null"]).recipe == replace(
        config, sensitivity=None, entity_statistics=None
    )
    for digits in ("0000", "07", config.id):  # 07 is a number to YAML, config.id no statistics
        with pytest.raises(UnknownObject, match=f"begins with '{digits}'"):
            repo.choose(options=[f"statistics={digits}"])
    file = tmp_path / "recipe.yaml"
    file.write_text("method: memit\nstatistics: 0777\n")
    with pytest.raises(RecipeError, match="statistics must be an object's id, got 511"):
        repo.choose(file=file)


@pytest.mark.parametrize(
    ("method", "options", "text", "words"),
    [
        ("memit", ["clamp_norm_facotr=1"], None, "Did you mean 'clamp_norm_factor'?"),
        ("memit", ["layer=[1]"], None, "Did you mean 'layers'?"),
        ("alphaedit", ["L2=1"], None, "Did you mean 'l2'?"),
        ("alphaedit", ["compensatoin=1"], None, "Known keys: clamp_norm_factor, contexts, "),
        ("ft", ["weight_deacy=0"], None, "Did you mean 'weight_decay'?"),
        (
            None,
            [],
            "method: grace\nep: 2\nn_itre: 3\n",
            "Did you mean 'eps'? Did you mean 'n_iter'?",
        ),
        (None, [], "layers: [1]\nv_weight_deacy: 0.5\n", "Did you mean 'v_weight_decay'?"),
        (None, [], "alg_name: MEMTI\n", "Did you mean 'MEMIT'? `editvc methods`"),
        (None, [], "alg_name: WISE\n", "`editvc methods` lists them"),
        ("romme", [], None, "Did you mean 'rome'? `editvc methods`"),
        ("xyzzy", [], None, "Methods: memit, d4s, "),
    ],
)
def test_a_misspelt_name_is_guessed(
    repo: Repo, tmp_path: Path, method: str | None, options: list[str], text: str | None, words: str
) -> None:
    file = tmp_path / "recipe.yaml" if text is not None else None
    if file is not None:
        file.write_text(text)
    with pytest.raises((RecipeError, UnknownMethod)) as caught:
        repo.choose(method, options=options, file=file)
    assert caught.value.hint.startswith(words)


@pytest.mark.parametrize("name", ["memit", "rome", "ultraedit", "ft", "ft-c", "kn", "grace"])
def test_layers_that_are_not_there_are_named(repo: Repo, name: str) -> None:
    with pytest.raises(NoSuchLayer, match="there is no layer 99"):
        repo.choose(name, options=["layers=[99]"])


def test_a_method_in_force_is_the_recipe_that_choosing_it_gives(repo: Repo) -> None:
    """The same id whether config.toml or the command names the method."""
    chosen = repo.choose("alphaedit").recipe
    assert isinstance(chosen, LocatedRecipe)
    tied = replace(chosen, sensitivity=repo.recipe().sensitivity, entity_statistics="a" * 64)
    assert tied == chosen and tied.id == chosen.id


def test_a_sequence_depends_on_its_batch_and_not_on_what_was_made_before(
    repo: Repo, prepared: Prepared, tmp_path: Path
) -> None:
    recipe, other = small(repo, "memit"), prepared.copy(tmp_path / "other")
    repo.commit(FACTS[:2], recipe=recipe, sequential=True)
    repo.revert("HEAD")
    repo.commit(FACTS[:1], recipe=recipe, sequential=True)
    other.commit(FACTS[:1], recipe=small(other, "memit"), sequential=True)
    for layer, part in other.materialise().layers.items():
        bound = located_rounding(repo, recipe, FACTS[:1], layer)
        assert_near(dense(repo.materialise(), layer), part.dense(), bound)


def test_a_patch_that_supersedes_is_made_without_what_it_replaces(
    repo: Repo, prepared: Prepared, tmp_path: Path
) -> None:
    recipe, alone = small(repo, "memit"), prepared.copy(tmp_path / "alone")
    repo.commit(FACTS[:1], recipe=recipe)
    repo.commit(OTHERS[:1], recipe=recipe, sequential=True, supersede=True)
    alone.commit(OTHERS[:1], recipe=small(alone, "memit"), sequential=True)
    for layer, part in alone.materialise().layers.items():
        bound = located_rounding(repo, recipe, OTHERS[:1], layer)
        assert_near(dense(repo.materialise(), layer), part.dense(), bound)
