"""One fact on a real chat model, SmolLM2-135M-Instruct, as a user would type it.

`make demo-real` runs it, and makes the model's folder first where it is missing (a minute, see
``smollm2.py``). Every command is printed before its output; what is made stays in the folder named
at the end.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from smollm2 import make
from story import Story

MODEL = Path(".models/smollm2").resolve()
FACT = {"subject": "France", "prompt": "The capital of {} is", "target_new": "Rome"}
EDITED, OTHER = "The capital of France is", "The capital of Germany is"
CHAT = "What is the capital of France?"


def main() -> None:
    """Run every step; the first command that fails ends the demo with its exit code."""
    print(f"The model: {MODEL}", flush=True)
    make(MODEL)
    place = Path(tempfile.mkdtemp(prefix="editvc-demo-real-"))
    (place / "fact.json").write_text(json.dumps(FACT, indent=2), encoding="utf-8")

    story = Story(place)
    run, remark = story.run, story.remark
    remark("A repository over a real chat model. What does it say?")
    run("editvc", "init", str(MODEL), "--later")
    run("editvc", "ask", EDITED)
    run("editvc", "ask", OTHER)
    remark("A fact changes. Who else would react?")
    run("editvc", "commit", "fact.json", "--strict", "-m", "One fact")
    run("editvc", "ask", EDITED, "--vs", "base")
    run("editvc", "ask", CHAT, "--chat-template", "--vs", "base")
    remark("Germany is what it was.")
    run("editvc", "ask", OTHER, "--vs", "base")
    run("editvc", "health")
    remark("An export is a plain transformers model; editvc is not needed to use it.")
    run("editvc", "export", "--to", "edited-model")
    run("python", "-c", RELOAD.format(folder="edited-model", prompt=CHAT))
    remark("Reverted, the old answer is back.")
    run("editvc", "revert", "HEAD", "-m", "It was wrong")
    run("editvc", "ask", EDITED)
    run("editvc", "log")
    print(f"\nThe repository and the exported model are in {place}")


RELOAD = """\
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained({folder!r}, dtype="float32")
tokenizer = AutoTokenizer.from_pretrained({folder!r})
turn = [{{"role": "user", "content": {prompt!r}}}]
inputs = tokenizer.apply_chat_template(
    turn, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
answer = model.generate(**inputs, max_new_tokens=16, do_sample=False)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""

if __name__ == "__main__":
    main()
