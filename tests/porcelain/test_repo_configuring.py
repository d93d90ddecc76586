"""``config KEY VALUE``: a method that is set takes along what it needs, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_repos import FACTS, close

from editvc import Repo
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import METHODS
from editvc.errors import EditvcError
from editvc.porcelain.configure import configure
from editvc.vcs.config_file import ConfigError

LOCATED = [name for name, row in METHODS.items() if row.element == "located"]


@pytest.fixture(scope="module")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository over the pocket model, which ships numbers of its own."""
    place = tmp_path_factory.mktemp("pocket")
    close(Repo.init(place, "pocket", layers=[0]))
    return place


@pytest.mark.parametrize("name", LOCATED)
def test_a_method_is_set_in_one_command_and_back_in_another(repo: Repo, name: str) -> None:
    configure(
        repo.session, "recipe.v_num_grad_steps", "20"
    )  # memit's default; the tiny repository has 5
    before, wanted = repo.session.repository.config_file.load(), repo.choose(name).recipe
    configure(repo.session, "recipe.method", name)
    assert repo.recipe() == wanted, "what --method makes"
    configure(repo.session, "recipe.method", "memit")
    assert repo.recipe().layers == ((2,) if METHODS[name].single else (1, 2))
    configure(repo.session, "recipe.layers", "[1, 2]")
    assert repo.session.repository.config_file.load() == before


@pytest.mark.parametrize("name", LOCATED)
def test_what_the_base_ships_is_the_default_methods_alone(
    pocket: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(pocket, tmp_path / "work")
    repo = Repo(tmp_path / "work")
    before, wanted = repo.recipe(), repo.choose(name).recipe
    configure(repo.session, "recipe.method", name)
    assert repo.recipe() == wanted
    configure(repo.session, "recipe.method", "memit")
    assert repo.recipe() == before
    if name == "rome":
        assert wanted.clamp_norm_factor == METHODS["rome"].numbers["clamp_norm_factor"]
        assert before.clamp_norm_factor != METHODS["memit"].numbers["clamp_norm_factor"]


def test_what_changes_is_told(repo: Repo) -> None:
    for key, value in (("v_lr", "0.25"), ("compensation", "0.5")):
        assert configure(repo.session, f"recipe.{key}", value) == ()
    weight = repo.recipe().mom2_update_weight
    out, begun = configure(repo.session, "recipe.method", "alphaedit")
    assert out.startswith("taken out, alphaedit does not know: ")
    assert f"mom2_update_weight = {weight}" in out and "compensation = 0.5" in out
    assert begun.startswith("as alphaedit begins: ")
    assert "clamp_norm_factor = 0.75 (was 0.85)" in begun and "v_lr = 0.5 (was 0.25)" in begun
    assert "l2 = 10.0" in begun
    assert "mom2_update_weight" not in repo.session.repository.config_file.text()
    assert "# How methods that solve the set" in repo.session.repository.config_file.text()
    assert repo.commit(FACTS[:1]).commit.live == 1
    *_, one = configure(repo.session, "recipe.method", "rome")
    assert one == "layers = [2]: rome edits one; were [1, 2]"


def test_methods_that_know_the_same_numbers_share_them(repo: Repo) -> None:
    configure(repo.session, "recipe.v_lr", "0.25")
    assert configure(repo.session, "recipe.method", "d4s") == ()
    assert (repo.recipe().method, repo.recipe().v_lr) == ("d4s", 0.25)


@pytest.mark.parametrize(("wrong", "right"), [("alphaedit", "alphaedit"), ("alphaedit", "memit"),
                                              ("memti", "memit"), ("ft", "rome")])  # fmt: skip
def test_a_method_that_was_written_by_hand_can_be_set_right(
    repo: Repo, wrong: str, right: str
) -> None:
    file = repo.session.repository.config_file
    file.path.write_text(file.text().replace('method = "memit"', f'method = "{wrong}"'))
    with pytest.raises(ConfigError, match=r"means nothing|unknown method|makes a patch") as caught:
        Repo(file.path.parent).recipe()
    if wrong == "alphaedit":
        assert "`editvc config recipe.method alphaedit`" in caught.value.hint
    broken = Repo(file.path.parent)
    configure(broken.session, "recipe.method", right)
    assert broken.recipe().method == right
    assert broken.commit(FACTS[:1]).commit.live == 1


@pytest.mark.parametrize("name", [*sorted({*METHODS} - {*LOCATED}), "alphaedti"])
def test_what_cannot_be_in_force_changes_nothing(repo: Repo, name: str) -> None:
    before = repo.session.repository.config_file.text()
    with pytest.raises(EditvcError) as caught:
        configure(repo.session, "recipe.method", name)
    assert caught.value.hint and not isinstance(caught.value, RecipeError)
    assert "no such key" not in str(caught.value)
    assert repo.session.repository.config_file.text() == before
