"""``config KEY VALUE``: a method that is set takes along what it needs, and says so."""

from __future__ import annotations

import pytest
from tiny_repos import FACTS

from editvc import Repo
from editvc.core.methods import METHODS
from editvc.core.recipe import RecipeError
from editvc.errors import EditvcError
from editvc.porcelain.configuring import configure

LOCATED = [name for name, row in METHODS.items() if row.element == "located"]


@pytest.mark.parametrize("name", LOCATED)
def test_a_method_is_set_in_one_command_and_back_in_another(repo: Repo, name: str) -> None:
    configure(repo, "recipe.v_num_grad_steps", "20")  # memit's default; the tiny repository has 5
    before, wanted = repo.repository.config_file.load(), repo.choose(name).recipe
    configure(repo, "recipe.method", name)
    assert repo.recipe() == wanted, "what --method makes"
    configure(repo, "recipe.method", "memit")
    assert repo.recipe().layers == ((2,) if METHODS[name].single else (1, 2))
    configure(repo, "recipe.layers", "[1, 2]")
    assert repo.repository.config_file.load() == before


def test_what_was_set_is_kept_and_nothing_goes_in_silence(repo: Repo) -> None:
    for key, value in (("v_lr", "0.25"), ("compensation", "0.5"), ("v_num_grad_steps", "20")):
        assert configure(repo, f"recipe.{key}", value) == ()
    weight = repo.recipe().mom2_update_weight
    out, begun, kept = configure(repo, "recipe.method", "alphaedit")
    assert out.startswith("taken out, alphaedit does not know: ")
    assert f"mom2_update_weight = {weight}" in out and "compensation = 0.5" in out
    assert begun.startswith("now as alphaedit has it by default: ")
    assert "clamp_norm_factor = 0.75" in begun and "l2 = 10.0" in begun and "v_lr" not in begun
    assert kept == "kept: v_lr = 0.25 (0.5 by default)"
    assert "mom2_update_weight" not in repo.repository.config_file.text()
    assert "# How facts become numbers" in repo.repository.config_file.text()
    assert repo.commit(FACTS[:1]).commit.live == 1
    *_, one = configure(repo, "recipe.method", "rome")
    assert one == "layers = [2]: rome edits one; were [1, 2]"


@pytest.mark.parametrize("name", ["ft", "grace", "alphaedti"])
def test_what_cannot_be_in_force_changes_nothing(repo: Repo, name: str) -> None:
    before = repo.repository.config_file.text()
    with pytest.raises(EditvcError) as caught:
        configure(repo, "recipe.method", name)
    assert caught.value.hint and not isinstance(caught.value, RecipeError)
    assert repo.repository.config_file.text() == before
