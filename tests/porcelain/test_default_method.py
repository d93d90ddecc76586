"""What a new repository commits with, where nobody names a method; and how that is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_families import tiny
from tiny_models import byte_bpe, saved
from tiny_repos import FACTS, Prepared, tree

from editvc import Repo
from editvc.core.methods.gated import FEWEST_BLOCKS, GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.errors import EditvcError
from editvc.porcelain.configure import configure
from editvc.session import take_statistics
from editvc.session.recording import NothingToDo
from editvc.session.take_inputs import INPUTS
from editvc.session.trees import tree_at
from editvc.statistics.bundle import BUNDLED_NAMES, BUNDLED_TEXT, Sources
from editvc.vcs.config_file import ConfigError

QUICK = ("v_num_grad_steps=2",)


def made(folder: Path, base: Path, prepared: Prepared) -> Repo:
    return Repo.init(folder, str(base), texts=[prepared.text], entities=prepared.names)


@pytest.fixture
def deep(prepared: Prepared, tmp_path: Path) -> Repo:
    """Over a model of just as many blocks as it takes for gates to be the default."""
    return made(tmp_path / "work", saved(tmp_path / "base", n_layer=FEWEST_BLOCKS), prepared)


def test_a_deep_model_gets_gates_and_the_statistics_that_these_need(deep: Repo) -> None:
    config = deep.session.repository.config
    assert config.method == config.commit.method == "gated"
    assert config.get(INPUTS) is not None
    assert [*deep.session.materialiser.statistics.inputs(config.get(INPUTS)).layers] == [2]
    assert deep.recipe().statistics is None, "what is solved takes its own when it is used"
    recipe = deep.choose().recipe
    assert isinstance(recipe, GatedRecipe) and recipe.layers == (2,)
    assert [one.role for one in deep.statistics()] == ["inputs"]
    assert deep.fsck().clean


def test_commits_that_name_no_method_make_gates(deep: Repo) -> None:
    deep.commit(FACTS[:1], recipe=deep.choose(options=QUICK).recipe)
    deep.commit(FACTS[1:2])
    (found,) = deep.session.materialiser.neurons(tree_at(deep.session, "HEAD")).values()
    assert len(found.inside) == 4, "two an edit"
    assert deep.materialise().is_empty


def test_a_method_that_is_solved_takes_its_statistics_then_and_says_of_what(
    deep: Repo, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = Sources(
        (prepared.text,), None, prepared.names, "bundled text", "bundled names",
        (BUNDLED_TEXT, BUNDLED_NAMES),
    )  # fmt: skip
    monkeypatch.setattr(take_statistics, "sources_of", lambda: bundled)
    heard: list[str] = []
    deep.session.remark = heard.append
    deep.commit(FACTS[:1], recipe=deep.choose("memit", options=QUICK).recipe)
    assert deep.recipe().statistics is not None
    assert heard == [BUNDLED_TEXT, BUNDLED_NAMES]
    assert not deep.materialise().is_empty


@pytest.mark.parametrize(
    ("family", "changes"),
    [("gpt2", {"n_layer": FEWEST_BLOCKS - 1}), ("bloom", {"n_layer": FEWEST_BLOCKS})],
)
def test_shallow_models_and_mlps_of_one_width_begin_with_what_is_solved(
    prepared: Prepared, tmp_path: Path, family: str, changes: dict[str, int]
) -> None:
    base, tokenizer = tmp_path / "base", byte_bpe()
    tiny(family, len(tokenizer), **changes).save_pretrained(base)
    tokenizer.save_pretrained(base)
    repo = made(tmp_path / "work", base, prepared)
    config = repo.session.repository.config
    assert (config.commit.method, config.method) == ("", "memit")
    assert repo.recipe().statistics is not None and config.get(INPUTS) is None
    assert repo.choose().recipe == repo.recipe()


@pytest.mark.parametrize(
    ("method", "set_to", "taken"),
    [("memit", "", ["text", "entities", "sensitivity"]), ("ft", "ft", [])],
)
def test_a_method_that_is_named_is_that_of_commits(
    prepared: Prepared, tmp_path: Path, method: str, set_to: str, taken: list[str]
) -> None:
    base = saved(tmp_path / "base", n_layer=FEWEST_BLOCKS)
    repo = Repo.init(
        tmp_path / "work", str(base), texts=[prepared.text], entities=prepared.names, method=method
    )
    assert repo.session.repository.config.commit.method == set_to
    assert repo.choose().recipe.method == method
    assert [one.role for one in repo.statistics()] == taken


@pytest.mark.parametrize("method", ["memmit", "lora"])
def test_a_method_that_is_none_makes_no_repository(
    prepared: Prepared, tmp_path: Path, method: str
) -> None:
    with pytest.raises(EditvcError, match=method):
        Repo.init(tmp_path / "work", str(prepared.base), method=method)
    assert not (tmp_path / "work").exists()


def test_the_method_of_commits_is_set_by_either_key(repo: Repo) -> None:
    assert configure(repo.session, "commit.method", "gated") == ()
    assert isinstance(repo.choose().recipe, GatedRecipe)
    assert isinstance(repo.choose("memit").recipe, LocatedRecipe)
    notes = configure(repo.session, "recipe.method", "rome")
    assert notes[0] == "commit.method is empty (was gated): commits use rome"
    assert repo.choose().recipe.method == "rome"
    configure(repo.session, "commit.method", "rome")
    assert not any("commit" in note for note in configure(repo.session, "recipe.method", "rome"))
    assert repo.session.repository.config.commit.method == "rome"


@pytest.mark.parametrize(("method", "said"), [("gatd", "unknown method"), ("lora", "nothing of")])
def test_what_makes_nothing_of_facts_is_no_method_of_commits(
    repo: Repo, method: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        configure(repo.session, "commit.method", method)
    assert repo.session.repository.config.method == "memit"


def test_a_config_of_before_uses_its_recipe(repo: Repo) -> None:
    path = repo.folder / "config.toml"
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition("\n[commit]")
    path.write_text(head + rest[rest.index("\n[recipe]") :], encoding="utf-8")
    assert Repo(repo.folder.parent).choose().recipe == repo.recipe()


def test_commits_of_gates_are_folded_and_no_number_changes(deep: Repo) -> None:
    recipe = deep.choose(options=QUICK).recipe
    for fact in FACTS[:3]:
        deep.commit([fact], recipe=recipe)
    with pytest.raises(NothingToDo, match="no located edit"):
        deep.squash("3..3")
    before = tree(deep)
    assert deep.preview_squash("1..2").summary() == (
        "would fold 2 commits, and locate nothing again; nothing was written"
    )
    done = deep.squash("1..3", message="All")
    assert (done.commits, done.facts, done.before, done.after) == (3, 0, None, None)
    assert done.to_json()["before"] is None
    assert tree(deep) == before
    assert [row.message for row in deep.log()] == ["All"]
