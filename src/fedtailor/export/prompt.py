"""The result of a search for a prompt: its file as the run wrote it, byte for byte, and a card that shows how to use it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..job import Job
from ..prompting import Prompt, prompt_from_json
from ..tasks.asked import calibrates
from ..tuning.none import FILE
from .card import base_name, card

USAGE = """```python
from pathlib import Path

from fedtailor.prompting import Reading, prompt_from_json
from transformers import AutoModelForCausalLM, AutoTokenizer

prompt = prompt_from_json(Path("{name}", "prompt.json").read_text(encoding="utf-8"))
model = AutoModelForCausalLM.from_pretrained("{backbone}").eval()  # or where you have it
tokenizer = AutoTokenizer.from_pretrained("{backbone}")
scores = Reading(model, tokenizer, prompt, calibrate={calibrate}).scores(["a text of yours"])[0]
print(prompt.labels[scores.index(max(scores))])
```"""

WRITING = """```python
from pathlib import Path

import torch
from fedtailor.prompting import ReferenceReading, prompt_from_json
from transformers import AutoModelForCausalLM, AutoTokenizer

prompt = prompt_from_json(Path("{name}", "prompt.json").read_text(encoding="utf-8"))
model = AutoModelForCausalLM.from_pretrained("{backbone}").eval()  # or where you have it
tokenizer = AutoTokenizer.from_pretrained("{backbone}")
ids = ReferenceReading(model, tokenizer, prompt).ids("a text of yours")
written = model.generate(torch.tensor([ids]), max_new_tokens=64, do_sample=False)[0, len(ids):]
print(tokenizer.decode(written, skip_special_tokens=True).strip().split("\n")[0])
```"""


def write_prompt(job: Job, summary: Mapping[str, Any], result: Path, folder: Path, *, name: str) -> None:
    """Write prompt.json and README.md to `folder`.

    Args:
        result: the folder of the run's own prompt.json.
        name: that the folder will have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(result / FILE, folder / FILE)
    prompt = prompt_from_json((folder / FILE).read_bytes().decode(), str(result / FILE))
    calibrate = calibrates(job.task)
    use = (USAGE if prompt.labels else WRITING).format(name=name, backbone=base_name(job), calibrate=calibrate)
    (folder / "README.md").write_text(
        card(job, summary, name=name, to="prompt", what=_about(prompt, calibrate), use=use), encoding="utf-8"
    )


def _about(prompt: Prompt, calibrate: bool) -> str:
    """Return the prompt as the model reads it, and how an answer is chosen."""
    text = prompt.head() + prompt.tail("{text}")
    vectors = ", then the vectors that `prompt.json` holds (base64 of float32 values)" if prompt.vectors else ""
    calibrated = ", less what it has behind texts that say nothing" if calibrate else ""
    if prompt.own_shots:
        vectors += f", behind {prompt.own_shots} examples of yours: `prompt = with_own(prompt, [(text, label), ...])` of `fedtailor.prompting.shots`"
    if not prompt.labels:
        return f"The backbone reads, with your text in the place of `{{text}}`{vectors}, and writes the answer, of which the first line counts:\n\n````\n{text}\n````\n"
    return (
        f"The backbone reads, with your text in the place of `{{text}}`{vectors}:\n\n````\n{text}\n````\n\n"
        f"The answer is the one of these that is the likeliest{calibrated}, each with a blank in front:\n\n"
        + "\n".join(f"{number}. {label}" for number, label in enumerate(prompt.labels))
    )
