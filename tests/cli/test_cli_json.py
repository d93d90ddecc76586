"""The JSON that scripts rely on, key by key; people get short ids and words."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import ADA, FACTS, FRESH, OTHERS, Prepared
from tolerances import assert_near, rounding

HEX = re.compile(r"[0-9a-f]{64}")

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def two_commits(here: Path) -> Path:
    """Two capitals in one commit, three other facts in the next."""
    inside("commit", written(here / "a.jsonl", FACTS[:2]), "-m", "Capitals", "--author", ADA)
    inside("commit", written(here / "b.jsonl", FACTS[2:5]), "-m", "Others", "--author", ADA)
    return here


def test_commit(here: Path) -> None:
    path = written(here / "facts.jsonl", [*FACTS[:3], FACTS[0]])
    done = inside("commit", path, "-m", "Three", "--json").json
    assert done.keys() >= {"commit", "number", "tree", "edits", "skipped", "warnings"}
    assert HEX.fullmatch(done["commit"]) and HEX.fullmatch(done["tree"])
    assert (done["number"], done["edits"], done["live"]) == (1, 3, 3)
    assert done["warnings"] == []
    assert (done["asked"], done["unsaid"]) == (0, []), "all were located before"
    assert done["skipped"] == [
        {
            "subject": "France",
            "prompt": "The capital of {} is",
            "reason": f"stands at {path}:1 already",
        }
    ]


def test_status(two_commits: Path) -> None:
    now = inside("status", "--json").json
    assert now.keys() >= {"commit", "number", "branch", "tree", "base", "live"}
    assert all(HEX.fullmatch(now[key]) for key in ("commit", "tree", "base"))
    assert (now["number"], now["branch"], now["live"]) == (2, "main", 5)
    assert now["commit"] == inside("log", "--json").json[0]["commit"]


def test_status_before_the_first_commit(here: Path) -> None:
    now = inside("status", "--json").json
    assert (now["commit"], now["number"], now["branch"], now["live"]) == (None, 0, "main", 0)
    empty = now["tree"]
    inside("commit", written(here / "a.jsonl", FACTS[:1]))
    inside("revert", "HEAD")
    assert inside("status", "--json").json["tree"] == empty, "the tree of the empty set"


def test_log(two_commits: Path) -> None:
    rows = inside("log", "--json").json
    assert [row.keys() for row in rows] == [
        {
            "commit", "number", "tree", "parents", "message", "author", "time", "edits", "live",
            "branches",
            "tags",
        }
    ] * 2  # fmt: skip
    newest, oldest = rows
    assert (newest["number"], oldest["number"]) == (2, 1)
    assert (newest["message"], newest["author"]) == ("Others", ADA)
    assert (newest["edits"], newest["live"], oldest["edits"], oldest["live"]) == (3, 5, 2, 2)
    assert newest["parents"] == [oldest["commit"]] and oldest["parents"] == []
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", newest["time"])
    assert inside("log", "-n", "1", "--json").json == [newest]
    assert (newest["branches"], oldest["branches"]) == (["main"], [])
    assert inside("log", "HEAD~1", "--json").json == [oldest]
    assert inside("log", "1..HEAD", "--json").json == [newest]
    assert inside("log", "base", "--json").json == []


def test_log_of_nothing_is_an_empty_array() -> None:
    assert inside("log", "--json").json == []
    assert inside("log").out == ""


def test_show(two_commits: Path) -> None:
    shown = inside("show", "HEAD", "--json").json
    assert shown["commit"] == inside("log", "--json").json[0]["commit"]
    assert shown["health"].keys() == {"delta_norm", "drift", "capacity"}
    assert {fact["fact"] for fact in shown["added"]} == {fact.id for fact in FACTS[2:5]}
    assert shown["removed"] == shown["changed"] == []
    curie = next(fact for fact in shown["added"] if fact["subject"] == "Marie Curie")
    assert curie == {
        "fact": FACTS[3].id,
        "subject": "Marie Curie",
        "prompt": "The native language of {} is",
        "target_new": "French and Polish",
    }


def test_ask(two_commits: Path) -> None:
    said = inside("ask", FACTS[0].question, "-n", "3", "--json").json
    assert said.keys() >= {"prompt", "completion"}
    assert said["prompt"] == FACTS[0].question and said["completion"]
    both = inside("ask", FACTS[0].question, "-n", "3", "--vs", "base", "--json").json
    assert both["completion"] == said["completion"]
    base = inside("ask", FACTS[0].question, "-n", "3", "--at", "base", "--json").json
    assert both["vs_completion"] == base["completion"]


def test_diff(two_commits: Path, here: Path) -> None:
    inside("commit", written(here / "c.jsonl", OTHERS[:1]), "--supersede")
    inside("revert", FACTS[1].id)
    found = inside("diff", "1", "HEAD", "--json").json
    assert found.keys() >= {"added", "removed", "changed", "delta_norm"}
    assert {fact["fact"] for fact in found["added"]} == {fact.id for fact in FACTS[2:5]}
    assert [fact["fact"] for fact in found["removed"]] == [FACTS[1].id]
    ((change),) = found["changed"]
    assert change["before"]["target_new"] == "Rome" and change["after"]["target_new"] == "London"
    assert found["delta_norm"].keys() == {"1", "2"}
    assert all(norm > 0 for norm in found["delta_norm"].values())
    back = inside("diff", "HEAD", "1", "--json").json
    # Norms by the QR of factors that stand in another order, at most 32 x 128 numbers (H. 19.4).
    for layer, norm in found["delta_norm"].items():
        assert_near(back["delta_norm"][layer], norm, rounding(32 * 128))
    assert back["removed"] == found["added"]
    same = inside("diff", "HEAD", "HEAD", "--json").json
    assert same["added"] == same["removed"] == same["changed"] == []


def test_health(two_commits: Path) -> None:
    found = inside("health", "--json").json
    assert found.keys() >= {"verdict", "reasons", "layers"}
    assert found["verdict"] in ("ok", "warn", "refuse")
    assert [layer["layer"] for layer in found["layers"]] == [1, 2]
    assert found["layers"][0].keys() >= {
        "norm_growth", "distance", "spectral", "condition", "correlation", "drift", "capacity",
    }  # fmt: skip
    assert [row["number"] for row in found["trend"]] == [1, 2]
    assert bool(found["reasons"]) == (found["verdict"] != "ok")


@pytest.mark.parametrize("kind", ["hf", "lora", "delta"])
def test_export(two_commits: Path, kind: str) -> None:
    done = inside("export", "--to", "out", "--format", kind, "--json").json
    assert done.keys() >= {"path", "base_digest", "digest", "touched"}
    assert Path(done["path"]).resolve() == two_commits / "out"
    assert HEX.fullmatch(done["digest"])
    assert done["base_digest"] is None if kind == "delta" else HEX.fullmatch(done["base_digest"])
    assert done["touched"] == [f"transformer.h.{n}.mlp.c_proj.weight" for n in (1, 2)]


def test_an_export_marks_a_wrong_answer(here: Path) -> None:
    """The first fact is longer than what a check generates of others, the second is not learnt."""
    long = {"subject": "Proust", "prompt": "{} wrote", "target_new": "of Rome and of Paris. " * 4}
    weak = ("-O", "clamp_norm_factor=1e-6")
    inside("commit", written(here / "a.jsonl", [long]), "--method", "ft", "-O", "lr=0.01")
    right = inside("export", "--to", "right")
    assert right.code == 0 and right.err == "" and "WRONG" not in right.out
    inside("commit", written(here / "b.jsonl", FACTS[:1]), *weak)
    ran = inside("export", "--to", "out")
    marked = [line for line in ran.out.splitlines() if line.startswith("reloaded in")]
    assert sorted(line.endswith(" WRONG, the fact is 'Rome'") for line in marked) == [False, True]
    assert "warning: the export answers 1 of 2 prompts wrong" in ran.err
    done = inside("export", "--to", "again", "--json")
    assert "warning: " in done.err and len(done.json["warnings"]) == 1
    answers = {one["target_new"]: one["right"] for one in done.json["answers"]}
    assert answers == {long["target_new"].strip(): True, "Rome": False}


def test_writing_commands_report_like_commit(two_commits: Path) -> None:
    reverted = inside("revert", "1", "--json").json
    assert (reverted["number"], reverted["edits"], reverted["live"]) == (3, 2, 3)
    restrained = inside("compact", "--rank", "2", "--json").json
    assert (restrained["number"], restrained["edits"], restrained["live"]) == (4, 0, 3)
    squashed = inside("squash", "--range", "2..2", "--json").json
    assert (squashed["number"], squashed["squashed"], squashed["facts"]) == (4, 1, 3)
    assert squashed["before"].keys() == squashed["after"].keys() >= {"eff", "par", "spe", "drift"}
    for done in (reverted, restrained, squashed):
        assert done.keys() >= {"commit", "number", "tree", "edits", "skipped", "warnings"}


def test_dry_runs(two_commits: Path, here: Path) -> None:
    before = inside("status", "--json").json
    path = written(here / "c.jsonl", [FACTS[5], OTHERS[0], FACTS[1]])
    ran = inside("commit", path, "--dry-run", "--json")
    plan = json.loads(ran.out)
    assert ran.code == 1 and "--supersede" in plan["error"]["hint"]
    assert [fact["fact"] for fact in plan["facts"]] == [FACTS[5].id]
    assert plan["facts"][0]["slot"] == FACTS[5].slot and plan["facts"][0]["stored"]
    marked = [token for token in plan["facts"][0]["tokens"] if token["subject_last"]]
    assert len(marked) == 1
    assert len(plan["conflicts"]) == len(plan["skipped"]) == 1 and plan["memory"] == 0
    assert inside("revert", "2", "--dry-run", "--json").json["removed"]
    plan = inside("squash", "--range", "1..2", "--dry-run", "--json").json
    assert plan == {"squashed": 2, "facts": 5, "imported": [], "left_out": []}
    ran = inside("squash", "--range", "1..2", "--method", "ft")
    assert (
        ran.code == 1 and "no edit can be made ft's from what it keeps: it makes a patch" in ran.err
    )
    plan = inside("compact", "--rank", "1", "--dry-run", "--json").json
    assert plan["layers"]["1"]["rank_after"] == 1
    assert inside("status", "--json").json == before


def test_the_smaller_commands(two_commits: Path) -> None:
    assert inside("branch", "side", "1").code == 0
    rows = inside("branch", "--json").json
    assert [(row["name"], row["current"]) for row in rows] == [("main", True), ("side", False)]
    assert all(HEX.fullmatch(row["commit"]) for row in rows)
    checked = inside("fsck", "--json").json
    assert checked["clean"] and checked["errors"] == [] and checked["counts"]["fact"] >= 5
    sources = {row["role"]: row for row in inside("stats", "show", "--json").json}
    assert sources["text"]["unit"] == "tokens" and sources["entities"]["samples"] == 6
    settings = inside("config", "--json").json
    assert settings["recipe.layers"] == [1, 2]
    assert inside("config", "recipe.v_lr", "--json").json == {"recipe.v_lr": 0.5}


def test_init(prepared: Prepared, work: Path) -> None:
    (work / "new").mkdir()
    made = inside("-C", work / "new", "init", prepared.base, "--layers", "1", "--text",
                  prepared.text, "--entities", prepared.names, "--json")  # fmt: skip
    assert made.json["path"] == str(work / "new" / ".editvc")
    assert made.json.keys() >= {"commit", "number", "branch", "tree", "base", "live"}
    assert made.err == ""


def test_people_get_short_ids_and_words(two_commits: Path, here: Path) -> None:
    rows = inside("log", "--json").json
    lines = inside("log", "--oneline").out.splitlines()
    assert lines == [
        f"* {rows[0]['commit'][:10]} (HEAD -> main) 2 Others",
        f"* {rows[1]['commit'][:10]} 1 Capitals",
    ]
    for words in (["log"], ["status"], ["show"], ["branch"], ["diff", "1", "2"], ["stats", "show"],
                  ["commit", str(written(here / "d.jsonl", FACTS[5:6]))], ["revert", "1"],
                  ["health"], ["fsck"], ["ask", "x", "--vs", "base"]):  # fmt: skip
        ran = inside(*words)
        assert ran.code == 0 and ran.out, words
        assert not HEX.search(ran.out), words
        with pytest.raises(json.JSONDecodeError):
            json.loads(ran.out)


def test_messages_of_several_lines(here: Path) -> None:
    inside("commit", written(here / "a.jsonl", FACTS[:1]), "-m", "Title\n\nBody", "--author", ADA)
    (line,) = inside("log", "--oneline").out.splitlines()
    assert line.endswith(" 1 Title")
    assert inside("log").out.splitlines()[-3:] == ["| Title", "|", "| Body"]
    assert inside("log", "--json").json[0]["message"] == "Title\n\nBody"


def test_a_dry_run_marks_tokens_and_says_what_stands_in_the_way(two_commits: Path) -> None:
    path = written(two_commits / "c.jsonl", [FRESH[0], OTHERS[0]])
    ran = inside("commit", path, "--dry-run")
    shown = ran.out
    assert ran.code == 1 and "error: " in ran.err and "--supersede" in ran.err
    assert re.search(r"\[[^\]]+\]", shown), "the subject's last token"
    assert re.search(r"<[^>]+>", shown), "the target's"
    assert f"slot {FRESH[0].slot[:10]}  to be located; target: " in shown
    assert "conflict: " in shown and "'London'" in shown
    assert "1 to commit, 0 located already; memory about" in shown
    assert "nothing was written" in shown


def facts_at(revision: str) -> list[dict[str, str]]:
    return inside("diff", "base", revision, "--json").json["added"]


def test_eval_of_a_range_and_of_one_revision(two_commits: Path) -> None:
    new = inside("eval", "1..2", "--json")
    both = inside("eval", "HEAD", "--json").json
    assert new.json["facts"] == 5, "numbers include both ends"
    one = inside("eval", "HEAD~1..HEAD", "--json").json
    assert one["facts"] == 3 and both["facts"] == 5
    ids = [row["fact"] for row in both["per_fact"]]
    assert {row["fact"] for row in one["per_fact"]} < {*ids}
    assert inside("eval", "HEAD", "--at", "1").code == 2
    assert inside("eval", "nowhere.jsonl").code == 1


def test_eval(two_commits: Path) -> None:
    found = inside("eval", "--json").json
    assert found.keys() >= {"facts", "generated", "es", "ps", "ns", "s", "eff", "par", "spe", "avg",
                            "base", "unsaid", "suite", "generation", "intervals", "protocols",
                            "per_fact", "skipped", "objective"}  # fmt: skip
    assert found["generation"].keys() == {
        "prompt", "paraphrases", "locality", "portability",
    }  # fmt: skip
    assert [one["fact"] for one in found["per_fact"]] == [f["fact"] for f in facts_at("HEAD")]
    assert found["facts"] == 5 and found["eff"] is not None
    said = found["facts"] - len(found["unsaid"])
    assert_near(found["generated"], 100 * said / 5, rounding(2))
    for one in found["unsaid"]:
        assert one.keys() == {"fact", "question", "target_new", "answer"}
    text = inside("eval", "--at", "1")
    *_, said, targets, titles, base, edited, bounds = text.out.splitlines()
    assert said.endswith("of 2 said at 1")
    assert targets.startswith("targets on the base: median perplexity ")
    assert titles.split() == ["ES", "PS", "NS", "S", "Eff", "Par", "Spe", "Avg"]
    assert (base.split()[0], edited.split()[0]) == ("base", "1")
    assert edited.split()[1] == "-", "no fact has a true object"
    assert bounds.split()[0] == "95%" and re.fullmatch(r"\d+-\d+", bounds.split()[5])
    rows = inside("eval", "--csv").out.splitlines()
    assert rows[0].startswith("fact,question,target_new,answer,prompt.contains") and len(rows) == 6
    assert rows[0].endswith(",objective.perplexity,objective.tokens")


def test_eval_of_given_facts_and_of_nothing(here: Path) -> None:
    path = written(here / "others.jsonl", OTHERS[:1])
    found = inside("eval", path, "--at", "base", "--json").json
    assert [one["fact"] for one in found["unsaid"]] == [OTHERS[0].id]
    nothing = inside("eval")
    assert nothing.code == 1 and "no facts are live" in nothing.err and "hint:" in nothing.err
    assert inside("eval", "--chat-template").code == 2


def test_a_commit_names_facts_that_the_new_version_does_not_say(here: Path) -> None:
    path = written(here / "fresh.jsonl", FRESH)
    done = inside("commit", path, "--method", "grace", "-O", "n_iter=1")
    assert done.out.splitlines()[-1] == " 2 edits changed, 2 live; 0 of 2 said"
    assert done.err.count("warning: not said: ") == 2


def test_a_restraint_is_told_wherever_the_revision_is(two_commits: Path) -> None:
    assert inside("status", "--json").json["restraint"] is None
    done = inside("compact", "--rank", "2")
    assert sum(line.startswith("layer ") for line in done.out.splitlines()) == 2
    assert inside("status", "--json").json["restraint"] == {"prune": math.e, "rank": 2}
    assert "restrained: prune 2.71828, rank 2" in inside("status").out
    assert "restrained: prune 2.71828, rank 2" in inside("show").out
    inside("compact", "--off")
    assert "restrained" not in inside("status").out


def test_too_little_text_changes_nothing(two_commits: Path) -> None:
    before = Path(".editvc/config.toml").read_text()
    Path("tiny.txt").write_text("The capital of France is Paris.")
    done = inside("stats", "compute", "--text", "tiny.txt")
    assert done.code == 1 and "tokens of text are too few" in done.err
    assert Path(".editvc/config.toml").read_text() == before


def test_suites_and_kept_scores(two_commits: Path) -> None:
    found = inside("eval", "--suite", "generation", "--json").json
    assert found.keys() >= {"suite", "tree", "figures"} and found["suite"] == "generation"
    shown = inside("eval", "--suite", "generation").out.splitlines()
    assert [line.split()[0] for line in shown] == ["fluency", "base", "revision"]
    table = inside("eval", "--suite", "generation", "--csv").out.splitlines()
    assert table[0] == "group,figure,value"
    assert "scores" not in inside("log", "--json").json[0]
    (last, first) = inside("log", "--scores", "--json").json
    assert [one["suite"] for one in last["scores"]] == ["generation"] and first["scores"] == []
    assert "| generation: base fluency" in inside("log", "--scores").out
    rows = inside("diff", "1", "2", "--scores", "--json").json
    assert {row["before"] for row in rows} == {None}
    assert "revision fluency" in inside("diff", "1", "2", "--scores").out
    nothing = inside("diff", "base", "1", "--scores")
    assert nothing.out == "" and "nothing has been measured" in nothing.err
    assert inside("eval", "a.jsonl", "--suite", "generation").code == 2
    wrong = inside("eval", "--suite", "generatoin")
    assert wrong.code == 1 and "Did you mean 'generation'?" in wrong.err
