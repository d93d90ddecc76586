"""The whole story of editvc on the embedded pocket model, as a user would type it.

`make demo` runs it. Every command is printed before its output; nothing is kept but the folder
named at the end.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from story import Story

EDITS = Path(__file__).parent / "pocket" / "edits.jsonl"
MORE = 200


def main() -> None:
    """Run every step; the first command that fails ends the demo with its exit code."""
    records = [json.loads(line) for line in EDITS.read_text(encoding="utf-8").splitlines()]
    first, more = records[0], records[1 : 1 + MORE]
    place = Path(tempfile.mkdtemp(prefix="editvc-demo-"))
    (place / "fact.json").write_text(json.dumps(first, indent=2), encoding="utf-8")
    lines = "".join(json.dumps(record) + "\n" for record in more)
    (place / "more.jsonl").write_text(lines, encoding="utf-8")
    question = first["prompt"].replace("{}", first["subject"])
    other = more[0]["prompt"].replace("{}", more[0]["subject"])

    story = Story(place)
    run, remark = story.run, story.remark
    remark("A repository over the embedded pocket model. What does it say?")
    run("editvc", "init", "pocket")
    run("editvc", "ask", question)
    remark(f"A fact changes: {first['target_true']} becomes {first['target_new']}.")
    run("editvc", "commit", "fact.json", "-m", "One fact")
    run("editvc", "ask", question, "--vs", "base")
    run("editvc", "log")
    remark(f"{MORE} further facts in one commit.")
    run("editvc", "commit", "more.jsonl", "-m", f"{MORE} further facts")
    run("editvc", "ask", other, "--vs", "base")
    remark("Revert the first: the old answer is back, the others stay.")
    run("editvc", "revert", "1", "-m", "The first fact was wrong")
    run("editvc", "ask", question)
    run("editvc", "ask", other)
    remark("Squash history: the live facts are located again as one batch.")
    run("editvc", "squash", "--range", "1..3", "-m", "All facts as one batch")
    run("editvc", "log", "--oneline")
    remark("Restrain the weights while 95% of the facts are still said, judge them, export them.")
    run("editvc", "compact", "--keep", "0.95")
    run("editvc", "ask", other)
    run("editvc", "health")
    run("editvc", "export", "--to", "edited-model")
    remark("The export is a plain transformers model; editvc is not needed to use it.")
    run("python", "-c", RELOAD.format(folder="edited-model", prompt=other))
    print(f"\nThe repository and the exported model are in {place}")


RELOAD = """\
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained({folder!r}, dtype="float32")
tokenizer = AutoTokenizer.from_pretrained({folder!r})
inputs = tokenizer({prompt!r}, return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=6, do_sample=False)[0]))
"""

if __name__ == "__main__":
    main()
