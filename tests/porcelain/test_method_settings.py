"""Sections of config.toml for methods that are not located: what commits begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_repos import FACTS, Prepared

from editvc import Repo
from editvc.core.methods.recipe import NoSuchLayer, RecipeError
from editvc.core.methods.table import METHODS, RECIPES
from editvc.session.take_inputs import INPUTS, with_inputs
from editvc.session.trees import tree_at
from editvc.vcs.method_sections import NAMES


def used(repo: Repo) -> str:
    """The recipe of the only live edit."""
    (entry,) = repo.session.repository.edits_of(tree_at(repo.session, "HEAD")).entries()
    return str(repo.session.materialiser.elements.element(entry.element)[0])


def test_options_go_before_a_file_before_settings_before_defaults(
    repo: Repo, tmp_path: Path
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("method: gated\nslope: 30\nrise: 0.3\n")
    default = repo.choose("gated").recipe
    for key, value in (("slope", "20"), ("rise", "0.2"), ("threshold", "0.8")):
        repo.configure(f"gated.{key}", value)

    def numbers(*options: str, file: Path | None = None) -> tuple[float, ...]:
        found = repo.choose("gated", options=options, file=file).recipe
        return found.slope, found.rise, found.threshold, found.v_lr

    assert numbers() == (20, 0.2, 0.8, default.v_lr)
    assert numbers(file=file) == (30, 0.3, 0.8, default.v_lr)
    assert numbers("slope=40", file=file) == (40, 0.3, 0.8, default.v_lr)
    assert repo.choose("memit").recipe == repo.recipe(), "another method knows nothing of it"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_recipe_holds_can_be_set_and_is_used(repo: Repo, name: str) -> None:
    """As the same options would have it."""
    plain = repo.choose(name).recipe
    layers = [0] if METHODS[name].single else [0, 1]
    repo.configure(f"{name}.layers", str(layers))
    (key, number) = next(
        (key, getattr(plain, key)) for key, one in RECIPES[name].settings().items()
        if hasattr(one, "low")
    )  # fmt: skip
    value = str(number / 2 if isinstance(number, float) else number + 1)
    repo.configure(f"{name}.{key}", value)
    found = repo.choose(name).recipe
    assert (found.layers, found) != (plain.layers, plain)
    repo.configure(f"{name}.layers", "[]")
    assert repo.choose(name).recipe.layers == plain.layers
    repo.configure(f"{name}.{key}", str(number))
    assert repo.choose(name).recipe == plain
    assert found == repo.choose(name, options=[f"layers={layers}", f"{key}={value}"]).recipe


def test_commits_dry_runs_and_statistics_go_by_them(repo: Repo, prepared: Prepared) -> None:
    repo.configure("commit.method", "gated")
    repo.configure("gated.layers", "[2]")
    repo.configure("gated.v_num_grad_steps", "3")
    repo.compute_statistics(texts=[prepared.text], entities=prepared.names)
    inputs = repo.session.repository.config.get(INPUTS)
    assert [*repo.session.materialiser.statistics.inputs(inputs).layers] == [2]
    recipe = repo.choose().recipe
    expected = {"layers": [2], "v_num_grad_steps": 3, "method": "gated"}
    assert recipe.to_json() | expected == recipe.to_json()
    assert not repo.preview(FACTS[:1]).facts[0].stored
    repo.commit(FACTS[:1])
    whole = with_inputs(repo.session, recipe)
    assert used(repo) == whole.id
    repo.revert("HEAD")
    assert repo.preview(FACTS[:1]).facts[0].stored


def test_a_layer_that_the_base_has_not_is_told_where_it_is_used(repo: Repo) -> None:
    repo.configure("gated.layers", "[9]")
    with pytest.raises(NoSuchLayer, match="there is no layer 9"):
        repo.choose("gated")
    with pytest.raises(RecipeError, match="unknown recipe keys"):
        repo.choose("gated", options=["slop=1"])
    assert repo.choose("grace").recipe.layers != (9,)


def test_fsck_follows_what_the_sections_name(repo: Repo) -> None:
    file = repo.session.repository.config_file
    file.set_values({INPUTS: "e" * 64})
    assert any("eeee" in str(one) for one in Repo(file.path.parent).fsck().errors)
