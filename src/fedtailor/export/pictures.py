"""The part of a model card that shows how to make pictures with what was exported."""

import json
from collections.abc import Sequence

from ..pictures import Canvas

STEPS = 20


def picture_format(canvas: Canvas, labels: Sequence[str]) -> str:
    """Return what the model is given and what it answers, in words."""
    values = "Values are red, green and blue from -1 to 1"
    if canvas.answers == "adversarial":
        return f"{canvas.noise_shape[0]} numbers go in, each drawn from a normal distribution. Out comes a picture of {canvas.size} × {canvas.size} pixels. {values}."
    names = "\n".join(f"{number}. {name}" for number, name in enumerate(labels))
    if canvas.answers != "flow":
        levels = f"with the number of its level of noise (0 to {len(canvas.kept) - 1}, the last is noise alone)"
        gives = "the noise in it" if canvas.answers == "epsilon" else "v, which is noise and picture in one"
    else:
        levels, gives = "with the time (1000: noise, 0: clear)", "the direction from the picture to the noise"
    asked = f", and the number of a label, counted from 0 ({len(labels)} stands for none):\n\n{names}" if labels else "."
    return (
        f"A picture of {canvas.size} × {canvas.size} pixels between noise and a clear one goes in, {levels}. Out comes {gives}, which is followed back in "
        f"small steps. {values}{asked}"
    )


def picture_usage(name: str, canvas: Canvas, labels: Sequence[str], *, whole: bool, bottleneck: bool = False) -> str:
    """Return code that loads the folder and makes eight pictures.

    Args:
        name: of the folder.
        whole: whether it holds a whole model, not an adapter.
        bottleneck: whether the adapter is of fedtailor's own layers.
    """
    put = "load_adapter" if bottleneck else "PeftModel.from_pretrained"
    gan = canvas.answers == "adversarial"
    kind = "Dcgan" if gan else "AutoModel"
    load = (
        [f"model = {kind}.from_pretrained(folder).eval()"]
        if whole
        else [
            'backbone = json.load(open(f"{folder}/adapter_config.json"))["base_model_name_or_path"]  # or where you have it, with weights of the hash above',
            f"model = {put}({kind}.from_pretrained(backbone), folder).eval()",
        ]
    )
    return "\n".join(
        [
            *([] if whole else ["import json", ""]),
            "import torch",
            "from fedtailor.models import Dcgan"
            if gan
            else "from diffusers import AutoModel" + ("" if canvas.answers == "flow" else ", DDIMScheduler"),
            *([] if whole or bottleneck else ["from peft import PeftModel"]),
            *(["from fedtailor.tuning import load_adapter"] if bottleneck and not whole else []),
            "from PIL import Image",
            "",
            f"folder = {json.dumps(name, ensure_ascii=False)}  # this one",
            *load,
            *(_at_once(canvas) if gan else _in_steps(canvas, labels, "folder" if whole else "backbone")),
            "answer = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(2, 0, 3, 1)  # side by side",
            f'Image.fromarray(answer.reshape({canvas.size}, -1, 3).numpy()).save("pictures.png")',
        ]
    )


def _at_once(canvas: Canvas) -> list[str]:
    return ["with torch.inference_mode():", f"    pictures = model(torch.randn(8, {canvas.noise_shape[0]}))"]


def _in_steps(canvas: Canvas, labels: Sequence[str], scheduler: str) -> list[str]:
    """Return lines that follow the model from noise; `scheduler` names the folder that has its scheduler."""
    label, size = ", label" if labels else "", canvas.size
    asked = [f"label = torch.full((8,), {0})  # {labels[0]}"] if labels else []
    if canvas.answers == "flow":
        return [
            *asked,
            f"pictures, times = torch.randn(8, 3, {size}, {size}), torch.linspace(1, 0, {STEPS + 1})",
            "with torch.inference_mode():",
            "    for now, after in zip(times, times[1:]):",
            f"        pictures += (after - now) * model(pictures, (1000 * now).expand(8){label}).sample",
        ]
    return [
        *asked,
        f'pictures, scheduler = torch.randn(8, 3, {size}, {size}), DDIMScheduler.from_pretrained({scheduler}, timestep_spacing="trailing")',
        f"scheduler.set_timesteps({STEPS})",
        "with torch.inference_mode():",
        "    for time in scheduler.timesteps:",
        f"        pictures = scheduler.step(model(pictures, time{label}).sample, time, pictures).prev_sample",
    ]
