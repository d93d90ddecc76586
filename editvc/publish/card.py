"""The model card: what this model is, what was changed in it, and how to make it again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from editvc.core.cut import cut
from editvc.core.ids import short
from editvc.core.plain_yaml import read_yaml
from editvc.interchange.manifest import BUNDLE, LEDGER, LOCK
from editvc.models.source import POCKET
from editvc.version import __version__

Format = Literal["hf", "lora", "delta"]

RELATIONS: Mapping[str, str] = {"hf": "finetune", "lora": "adapter", "delta": "adapter"}
"""``base_model_relation`` by format; the Hub knows finetune, adapter, merge and quantized."""
LIBRARIES: Mapping[str, str | None] = {"hf": "transformers", "lora": "peft", "delta": None}
CARRIED = ("license", "license_name", "license_link", "language", "pipeline_tag")
"""What the base's card says that stays true of the edited model."""
ROWS_SHOWN = 50
_HEAD = re.compile(r"\ufeff?\s*---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|$)", re.DOTALL)
"""The YAML at the head of a card."""
EMBEDDED = f"""\
The base comes with editvc and is on no hub. In a folder without a repository, these commands
write it to the folder `{POCKET}`, by which name the adapter and the lines below look for it:

```sh
editvc init {POCKET}
editvc export base --to {POCKET}
```"""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One live fact.

    ``commit`` is the id of the commit that brought it, ``recipe`` that of the recipe by which it
    was located; ids are given in full.
    """

    subject: str
    prompt: str
    target_new: str
    commit: str
    target_true: str | None = None
    fact: str | None = None
    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class CardInput:
    """Everything a card says; plain values.

    ``base_source`` is shown as it is (:func:`public_source`), ``base_repo`` is the base's Hub id
    (:func:`hub_id`) or ``None``. ``health`` are figures by name, ``recipes`` are
    :meth:`Recipe.to_json` of all that edits were located with. ``serve`` are the commands that
    serve it from the Hub, ``rebuild`` those that make this folder again: from what is ``bundled``
    with it, else from a clone of the repository. ``patches`` are those that stand for no
    fact: kind, source and digest of each. ``evaluations`` are what was measured of this version.
    """

    format: Format
    title: str
    base_source: str
    base_repo: str | None
    base_revision: str | None
    base_digest: str
    digest: str
    commit: str
    tree: str
    ledger: Sequence[LedgerRow]
    recipes: Sequence[Mapping[str, Any]]
    verdict: str
    reasons: Sequence[str] = ()
    health: Mapping[str, float] | None = None
    touched: Sequence[str] = ()
    serve: Sequence[str] = ()
    rebuild: Sequence[str] = ()
    patches: Sequence[Mapping[str, str]] = ()
    evaluations: Sequence[EvalResult] = ()
    bundled: bool = False


def hub_id(source: str) -> str | None:
    """``source`` where it can be a model's id on the Hub; ``None`` for folders and ``pocket``."""
    if source == POCKET or Path(source).exists():
        return None
    try:
        validate_repo_id(source)
    except HFValidationError:
        return None
    return source


def public_source(source: str) -> str:
    """What others are told of where a base is from: of a folder its own name, and not its path."""
    return source if source == POCKET or hub_id(source) else Path(source).name


def render_card(values: CardInput, *, base_card: str | None = None, rows: int = ROWS_SHOWN) -> str:
    """The text of README.md: YAML for the Hub, then the body.

    ``base_card`` is the text of the base's own README.md; licence, language and task are taken
    from it. At most ``rows`` facts are shown; :func:`ledger_jsonl` carries all of them.
    """
    parts = [
        _introduction(values),
        render_usage(values.format, values.base_repo or values.base_source),
        _serving(values),
        _facts(values, rows),
        _imports(values),
        _health(values),
        _evaluations(values),
        _recipes(values),
        _rebuild(values),
    ]
    body = "\n\n".join(part for part in parts if part)
    return f"---\n{_metadata(values, base_card).to_yaml()}\n---\n\n{body}\n"


def ledger_jsonl(rows: Iterable[LedgerRow]) -> str:
    """The whole ledger, one JSON object a line, in the order given."""
    lines = (
        json.dumps(
            {key: value for key, value in asdict(row).items() if value is not None},
            sort_keys=True,
            ensure_ascii=False,
        )
        for row in rows
    )
    return "".join(line + "\n" for line in lines)


def _metadata(values: CardInput, base_card: str | None) -> ModelCardData:
    data: dict[str, Any] = {"tags": ["editvc", "knowledge-editing", "model-editing"]}
    if values.base_repo is not None:
        data |= {
            "base_model": values.base_repo,
            "base_model_relation": RELATIONS[values.format],
        }
    if LIBRARIES[values.format] is not None:
        data["library_name"] = LIBRARIES[values.format]
    if values.evaluations:
        data |= {"model_name": values.title, "eval_results": [*values.evaluations]}
    return ModelCardData(**(base_facts(base_card) | data))


def base_facts(base_card: str | None) -> dict[str, Any]:
    """The fields of the base's card that are kept: texts, and lists of texts.

    A card with broken YAML has none.
    """
    head = _HEAD.match(base_card or "")
    known: Any = None
    if head is not None:
        with suppress(yaml.YAMLError):
            known = read_yaml(head[1])
    kept = known if isinstance(known, dict) else {}
    return {"pipeline_tag": "text-generation"} | {
        key: kept[key] for key in CARRIED if kept.get(key) and _is_text(kept[key])
    }


def _is_text(value: Any) -> bool:
    return all(isinstance(one, str) for one in (value if isinstance(value, list) else [value]))


def _introduction(values: CardInput) -> str:
    base = (
        f"[{values.base_repo}](https://huggingface.co/{values.base_repo})"
        if values.base_repo
        else f"`{values.base_source}`"
    )
    revision = f" (revision `{values.base_revision}`)" if values.base_revision else ""
    count = len(values.ledger)
    facts = "1 fact" if count == 1 else f"{count} facts"
    if values.patches:
        more = len(values.patches)
        facts += f" and {more} imported change{'' if more == 1 else 's'}"
    kind = {
        "hf": "a whole model",
        "lora": "a LoRA adapter (PEFT)",
        "delta": "a low-rank change of weights",
    }[values.format]
    return (
        f"# {_text(values.title)}\n\n"
        f"{base}{revision} with {facts} edited into its weights; this repository holds {kind}. "
        f"Made with editvc {__version__}, version control for what a language model knows."
    )


def render_usage(format: Format, base: str) -> str:
    """How to load what was exported, ``base`` being a Hub id, a folder or ``pocket``."""
    if format == "delta":
        return ""
    lines = ["## How to use it", ""]
    if format == "lora" and base == POCKET:
        lines += [EMBEDDED, ""]
    lines += ["```python"]
    if format == "lora":
        lines += ["from peft import PeftModel"]
    lines += ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    if format == "lora":
        quoted = json.dumps(base)
        lines += [
            f"model = AutoModelForCausalLM.from_pretrained({quoted})",
            'model = PeftModel.from_pretrained(model, "path/or/id/of/this/adapter")',
            f"tokenizer = AutoTokenizer.from_pretrained({quoted})",
        ]
    else:
        lines += [
            'folder = "path/or/id/of/this/model"',
            "model = AutoModelForCausalLM.from_pretrained(folder)",
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
        ]
    return "\n".join([*lines, "```"])


def _serving(values: CardInput) -> str:
    if not values.serve:
        return ""
    lines = "\n".join(values.serve)
    return (
        "## How to serve it\n\nWith vLLM, where that knows the architecture:\n\n"
        f"```sh\n{lines}\n```"
    )


def _facts(values: CardInput, rows: int) -> str:
    shown = values.ledger[:rows]
    if not shown:
        if values.patches:
            return ""
        return "## Edited facts\n\nNone: the weights are those of the base."
    table = _table(
        ("subject", "prompt", "new answer", "commit"),
        [
            (_text(r.subject), _text(r.prompt), _text(r.target_new), f"`{short(r.commit)}`")
            for r in shown
        ],
    )
    rest = len(values.ledger) - len(shown)
    more = f"\n\n{rest} more are in [{LEDGER}]({LEDGER})." if rest else ""
    return f"## Edited facts\n\n{table}{more}"


def _imports(values: CardInput) -> str:
    if not values.patches:
        return ""
    rows = [(one["kind"], _text(one["source"]), f"`{one['digest']}`") for one in values.patches]
    return (
        "## Imported changes\n\nThese stand for no fact, and the health below does not judge all "
        "that they reach.\n\n" + _table(("kind", "name", "sha256"), rows)
    )


def _health(values: CardInput) -> str:
    reasons = "".join(f"\n- {_text(reason)}" for reason in values.reasons)
    text = f"## Health\n\nVerdict: **{_text(values.verdict)}**{reasons and chr(10)}{reasons}"
    if values.health:
        figures = [(name, f"{value:.4g}") for name, value in values.health.items()]
        text += "\n\n" + _table(("figure", "value"), figures)
    return text


def _evaluations(values: CardInput) -> str:
    if not values.evaluations:
        return ""
    rows = [
        (_text(one.dataset_name), _text(one.metric_name or one.metric_type),
         f"{one.metric_value:g}")
        for one in values.evaluations
    ]  # fmt: skip
    return "## Evaluation\n\n" + _table(("asked", "figure", "value"), rows)


def _recipes(values: CardInput) -> str:
    if not values.recipes:
        return ""
    heading = "## Recipe" if len(values.recipes) == 1 else "## Recipes"
    return "\n\n".join([heading, *map(_recipe, values.recipes)])


def _recipe(values: Mapping[str, Any]) -> str:
    recipe = json.dumps(dict(values), indent=2, ensure_ascii=False)
    fence = "````" if "```" in recipe else "```"
    return f"{fence}json\n{recipe}\n{fence}"


def _rebuild(values: CardInput) -> str:
    figures = _table(
        ("", "sha256"),
        [
            ("commit", f"`{values.commit}`"),
            ("tree", f"`{values.tree}`"),
            ("base weights", f"`{values.base_digest}`"),
            ("this result", f"`{values.digest}`"),
        ],
    )
    touched = ""
    if values.touched:
        names = ", ".join(f"`{name}`" for name in values.touched)
        touched = f"\n\nChanged tensors, all others being the base's, bit for bit: {names}."
    text = f"## How to rebuild it\n\n{figures}{touched}\n\n"
    text += f"[{LOCK}]({LOCK}) names the base, the recipes and every edit by digest."
    if values.bundled:
        text += (
            f" [{BUNDLE}]({BUNDLE}) holds the edits themselves, and all that they stand on but the "
            "base: these commands make the weights again and compare them, and make a repository."
        )
    if values.rebuild:
        text += "\n\n```sh\n" + "\n".join(values.rebuild) + "\n```"
    return text


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(value: str) -> str:
    """A user's text inside Markdown: one line, cut, and nothing in it is markup."""
    line = cut(" ".join(value.split()))
    for character in "\\`*_[]|~#$":
        line = line.replace(character, "\\" + character)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
