"""Several facts of one subject in one set: made as a group, and each as if it were the only one.

    python benchmarks/subjects.py --base .models/smollm2 [--empty REPOSITORY] [--facts 2]

Of subjects of which SmolLM2-135M-Instruct knows several facts, and which are none of records 0 to
99, so many are edited, each to the object of a like fact, all subjects in one set. Asked are the
edited facts and their other wordings, the facts of the same subjects that were not edited, and 150
facts of others. Prints a line of JSON for the base and for each way.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from real_data import REAL, SEED, lines_of
from scoring import share

import editvc
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.evaluation.probes import forced
from editvc.models.language_model import LanguageModel
from editvc.session.trees import tree_at

LIKE = {
    "P30": "continent", "landmark_on_continent": "continent", "P36": "capital",
    "country_capital_city": "capital", "P159": "seat", "company_hq": "seat", "P176": "maker",
    "P178": "maker", "product_by_company": "maker",
}  # fmt: skip
"""Relations of the two collections that ask for the same."""
WORDINGS = 4
"""Other wordings of an edited fact, at most."""
RECALLED = 150


@dataclass(frozen=True, slots=True)
class Asked:
    """What is edited, and what is not: (prompt, object) each."""

    facts: list[Fact]
    same: list[tuple[str, str]]
    recall: list[tuple[str, str]]


def asked_of(folder: Path, facts: int) -> Asked:
    """The same facts in every run: subjects in order, each one's drawn by its name."""
    known = lines_of(folder / "known.jsonl")
    patterns = json.loads((folder / "patterns.json").read_text(encoding="utf-8"))
    held = lines_of(folder / "records-dev.jsonl")[:100]
    table = {one["requested_rewrite"]["subject"] for one in held}
    by_subject: dict[str, dict[str, dict]] = {}
    objects: dict[str, set[str]] = {}
    for one in known:
        kind = LIKE.get(one["relation_id"], one["relation_id"])
        objects.setdefault(kind, set()).add(one["object"])
        by_subject.setdefault(one["subject"], {}).setdefault(kind, one)
    edited, same = [], []
    chosen = {name: of for name, of in by_subject.items() if len(of) > 1 and name not in table}
    for subject, kinds in sorted(chosen.items()):
        draw, taken = random.Random(subject), {one["object"] for one in kinds.values()}
        made = []
        for kind, one in sorted(kinds.items()):
            new = draw.choice(sorted(objects[kind] - taken))
            taken.add(new)
            prompt, *more = dict.fromkeys(one["prompts"] + patterns[one["relation_id"]])
            others = tuple(words.replace(PLACEHOLDER, subject) for words in more[:WORDINGS])
            made.append(Fact(subject, prompt, new, one["object"], paraphrases=others))
        draw.shuffle(made)
        edited += made[:facts]
        same += [(one.question, one.target_true or "") for one in made[facts:]]
    rest = [one for one in known if one["subject"] not in chosen]
    recall = [
        (one["prompts"][0].replace(PLACEHOLDER, one["subject"]), one["object"])
        for one in random.Random(SEED).sample(rest, RECALLED)
    ]
    return Asked(edited, same, recall)


def scores(lm: LanguageModel, asked: Asked) -> dict[str, float | None]:
    """Shares of answers of which every token is the first choice, per cent."""
    said = [(one.question, one.target_new) for one in asked.facts]
    other = [(words, one.target_new) for one in asked.facts for words in one.paraphrases]
    parts = {"eff": said, "par": other, "same": asked.same, "recall": asked.recall}
    return {name: first_choices(lm, pairs) for name, pairs in parts.items()}


def first_choices(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> float | None:
    """Of prompts with an answer each."""
    found = share([one.all_argmax for one in forced(lm, pairs)])
    return None if found is None else round(found, 1)


def main() -> None:
    """Parse, commit, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=REAL)
    parser.add_argument("--empty", type=Path, help="a repository of the base without a commit")
    parser.add_argument("--facts", type=int, default=2, help="facts edited of each subject")
    parser.add_argument("--dtype", default="bfloat16")
    given = parser.parse_args()
    asked = asked_of(given.data, given.facts)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "repository"
        if given.empty:
            shutil.copytree(given.empty, folder)
        else:
            editvc.Repo.init(folder, str(given.base.resolve())).close()
        repo = editvc.Repo(folder, dtype=given.dtype)
        recipe, began = repo.choose("gated").recipe, time.process_time()
        repo.commit(asked.facts, recipe=recipe)
        seconds = (time.process_time() - began) / len(asked.facts)
        about = {"edits": len(asked.facts), "cpu_seconds": round(seconds, 2)}
        print(json.dumps({"way": "base"} | scores(repo.session.base_model(), asked)), flush=True)
        tree = tree_at(repo.session, "HEAD")
        for way, one in (("each by itself", replace(tree, groups=())), ("as a group", tree)):
            with repo.session.edited(one) as lm:
                print(json.dumps({"way": way} | about | scores(lm, asked)), flush=True)


if __name__ == "__main__":
    main()
