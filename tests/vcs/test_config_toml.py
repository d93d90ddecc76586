from __future__ import annotations

import re
from pathlib import Path

import pytest
from vcs_values import BASE, CONFIG, RECIPE

from editvc.core.methods.table import RECIPES
from editvc.core.thresholds import Thresholds
from editvc.vcs.config_file import FIELDS, ConfigError, ConfigFile, UnknownKey, parse
from editvc.vcs.files import Files
from editvc.vcs.method_sections import NAMES
from editvc.vcs.store import MemoryStore


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    (tmp_path / "config.toml").write_text(CONFIG)
    return ConfigFile(tmp_path / "config.toml", Files(), MemoryStore())


def test_a_small_file_is_filled_with_defaults() -> None:
    config = parse(CONFIG)
    assert config.base.model == "pocket" and config.base.id == BASE.id
    assert config.recipe == RECIPE
    assert config.health == Thresholds()
    assert config.user.author == ""


def test_every_field_has_a_type_that_can_be_named() -> None:
    assert all(setting.kind.in_toml for setting in FIELDS.values())


@pytest.mark.parametrize(
    ("line", "key", "suggestion"),
    [
        ("[recipe]\nlayer = [1]", "recipe.layer", "recipe.layers"),
        ("[health]\ndrift_wran = 1", "health.drift_wran", "health.drift_warn"),
        ("[helth]\n", "helth", "health"),
        ("[xyzzy]\n", "xyzzy", None),
    ],
)
def test_an_unknown_key_is_an_error_that_guesses(
    line: str, key: str, suggestion: str | None
) -> None:
    with pytest.raises(UnknownKey) as caught:
        parse(line)
    assert (caught.value.key, caught.value.suggestion) == (key, suggestion)
    assert suggestion is None or f"Did you mean '{suggestion}'" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "key", "kind"),
    [
        ("layers = [1, 2]", 'layers = "1"', "recipe.layers", "list of whole numbers"),
        ("layers = [1, 2]", "layers = [1.5]", "recipe.layers", "list of whole numbers"),
        ("layers = [1, 2]", "layers = [true]", "recipe.layers", "list of whole numbers"),
        ("layers = [1, 2]", "layers = [1, 2]\nv_lr = true", "recipe.v_lr", "a number"),
        ("layers = [1, 2]", "layers = [1, 2]\nv_lr = inf", "recipe.v_lr", "a number"),
        ("layers = [1, 2]", "layers = [1, 2]\nv_num_grad_steps = 2.0", "recipe.v_num_grad_steps",
         "whole number"),
        ('model = "pocket"', "model = 3", "base.model", "a string"),
        (BASE.id, "abc", "base.id", "64 hex digits"),
        ("layers = [1, 2]\n", "", "recipe.layers", "is missing"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_key_and_type(old: str, new: str, key: str, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(CONFIG.replace(old, new))
    assert caught.value.key == key
    assert kind in str(caught.value)


def test_what_core_refuses_is_refused_with_its_reason() -> None:
    with pytest.raises(ConfigError, match="recipe: layers must rise"):
        parse(CONFIG.replace("[1, 2]", "[2, 1]"))
    with pytest.raises(ConfigError, match="recipe: 'ft' makes a patch, not keys and residuals"):
        parse(CONFIG.replace("layers = [1, 2]", 'layers = [1]\nmethod = "ft"'))
    with pytest.raises(ConfigError, match="recipe: unknown method 'romme'"):
        parse(CONFIG.replace("layers = [1, 2]", 'layers = [1]\nmethod = "romme"'))
    with pytest.raises(ConfigError, match="health: drift_warn = 9"):
        parse(CONFIG + "[health]\ndrift_warn = 9\n")


@pytest.mark.parametrize("text", ["base", "[base", "base = 3"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_a_character_that_cannot_be_seen_is_told_as_one(file: ConfigFile) -> None:
    """TOML's own words for it are an invalid statement, or none at all."""
    with pytest.raises(ConfigError, match=r"line 1 holds .* U\+200B"):
        parse("\u200b" + CONFIG)
    with pytest.raises(ConfigError, match=r"config base.model: holds .* U\+202E"):
        parse(CONFIG.replace('model = "pocket"', 'model = "poc\u202eket"'))
    with pytest.raises(ConfigError, match=r"U\+0000 \(NUL\)"):
        parse(CONFIG.replace('model = "pocket"', r'model = "pocket\u0000"'))
    with pytest.raises(ConfigError, match=r"config user.author: holds .* U\+200D") as caught:
        file.set_value("user.author", "Ada\u200d <a@b>")
    assert caught.value.hint and file.text() == CONFIG


def test_a_byte_order_mark_in_front_does_no_harm(file: ConfigFile) -> None:
    file.path.write_text("\ufeff" + CONFIG, encoding="utf-8")
    assert file.load() == parse(CONFIG)
    file.set_value("user.author", "Ada")
    assert file.path.read_bytes().startswith(CONFIG[:5].encode())


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        ConfigFile(tmp_path / "config.toml", Files(), MemoryStore()).load()


def test_get_and_as_dict_know_defaults(file: ConfigFile) -> None:
    assert file.get("recipe.layers") == (1, 2)
    assert file.get("health.drift_warn") == Thresholds().drift_warn
    assert file.as_dict()["base.model"] == "pocket"
    assert set(file.as_dict()) == set(FIELDS)
    with pytest.raises(UnknownKey):
        file.get("recipe")


@pytest.mark.parametrize("name", NAMES)
def test_a_method_that_is_not_located_has_a_section_with_all_of_its_recipe(name: str) -> None:
    settings = RECIPES[name].settings()
    assert {f"{name}.{key}" for key in settings} - {f"{name}.method"} <= set(FIELDS)
    bare = parse(CONFIG)
    assert bare.get(f"{name}.layers") == () and name not in bare.methods
    plain = RECIPES[name].from_json({"layers": [0], "method": name})
    for key in settings.keys() - {"layers", "method"}:
        assert bare.get(f"{name}.{key}") == getattr(plain, key), "defaults are the method's own"


def test_what_is_set_for_such_a_method_is_its_recipes() -> None:
    config = parse(CONFIG + "[gated]\nslope = 20\nlayers = [3]\n[ft-c]\nlr = 1e-3\n")
    assert config.methods == {"gated": {"slope": 20.0, "layers": (3,)}, "ft-c": {"lr": 1e-3}}
    assert config.get("gated.slope") == 20.0 and config.get("gated.layers") == (3,)
    assert config.get("ft-c.norm_constraint") == 5e-4, "of its row, not of its recipe's class"
    assert config.get("ft.norm_constraint") == 0.0


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        ("[gated]\nslop = 1", "gated.slop", "Did you mean 'gated.slope'"),
        ("[gaited]\nslope = 1", "gaited", "Did you mean 'gated'"),
        ("[memit]\nv_lr = 1", "memit", "there is no such key"),
        ('[gated]\nmethod = "gated"', "gated.method", "there is no such key"),
        ('[gated]\nslope = "steep"', "gated.slope", "must be a number"),
        ("[gated]\nthreshold = 2", "gated.threshold", r"must be in \(0, 1\], got 2"),
        ("[gated]\nlayers = [1, 2]", "gated", "edits one layer"),
        ("[gated]\nlayers = [-1]", "gated", "must rise from 0"),
        ('[gated]\ncontexts = ["no place"]', "gated", "each with one {}"),
        ("[ft-c]\nnorm_constraint = 0", "ft-c", "needs a bound"),
        ("[lora]\nrank = 1", "lora", "there is no such key"),
    ],
)
def test_what_such_a_section_may_not_hold(lines: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{CONFIG}{lines}\n")
    assert caught.value.key == key
    assert re.search(words.replace("{}", "\\{\\}"), f"{caught.value} {caught.value.hint}")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("gated.slope", "20", 20.0),
        ("gated.layers", "[3]", (3,)),
        ("gated.layers", "[]", ()),
        ("gated.inputs", "e" * 64, "e" * 64),
        ("ft-c.num_steps", "5", 5),
        ("mend.editor", "", None),
        ("user.author", "Ada <ada@example.org>", "Ada <ada@example.org>"),
        ("recipe.layers", "[0, 3]", (0, 3)),
        ("recipe.v_lr", "1", 1.0),
        ("recipe.contexts", '["{}", "Yes. {}"]', ("{}", "Yes. {}")),
        ("recipe.entity_statistics", "e" * 64, "e" * 64),
        ("recipe.entity_statistics", "", None),
        ("health.drift_warn", "1e-2", 0.01),
        ("base.revision", "12", "12"),
    ],
)
def test_set_value_keeps_comments_and_can_be_read_back(
    file: ConfigFile, key: str, text: str, value: object
) -> None:
    file.set_value(key, text)
    assert file.get(key) == value
    assert key == "recipe.contexts" or "# no prefixes" in file.text()


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("recipe.v_lr", "fast", "must be a number, got 'fast'"),
        ("recipe.v_lr", "0", "must be positive"),
        ("recipe.layers", "1", "list of whole numbers"),
        ("recipe.layers", "[1]\nv_lr = 9", "list of whole numbers"),
        ("base.id", "xyz", "64 hex digits"),
        ("health.drift_warn", "7", "lies past"),
    ],
)
def test_a_refused_value_leaves_the_file_alone(
    file: ConfigFile, key: str, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        file.set_value(key, text)
    assert problem in str(caught.value)
    assert file.text() == CONFIG


def test_several_values_are_set_together_or_not_at_all(file: ConfigFile) -> None:
    before = file.text()
    with pytest.raises(ConfigError, match=r"recipe\.v_lr: must be a number"):
        file.set_values({"recipe.layers": (3, 4), "recipe.v_lr": "much"})
    with pytest.raises(UnknownKey):
        file.set_values({"recipe.layers": (3, 4), "recipe.layer": 5})
    assert file.text() == before
    config = file.set_values(
        {"recipe.layers": (3, 4), "recipe.v_lr": 0.25, "recipe.sensitivity": None}
    )
    assert config == file.load()
    assert (config.recipe.layers, config.recipe.v_lr) == ((3, 4), 0.25)
    assert config.recipe.sensitivity is None
