"""Every tuning on every shape of model that it goes with."""

from pathlib import Path
from typing import Any

import torch

from fedtailor.models import load_backbone
from fedtailor.tuning import TUNINGS, Adapter, FedSB, Full, Head, Lora, PeftMethod, Prefix, Prompt

CPU = torch.device("cpu")
FOLDERS = {"llama": "tiny_backbone_folder", "gpt2": "tiny_gpt2_folder", "bert": "tiny_bert_folder"}
LABELS = ("card", "transfer", "rate")
IDS = torch.tensor([[5, 17, 130, 240, 9, 77], [33, 2, 2, 80, 121, 6]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])

VARIANTS: dict[str, Any] = {  # with settings, or by the names of their own
    "lora": Lora(rank=2),
    "fed-sb": FedSB(rank=4, alpha=4),
    "fed-sb-random": FedSB(rank=4, alpha=4, start="random"),
    "full": Full(),
    "head": Head(),
    "adapter": Adapter(width=4),
    "adapter-houlsby": Adapter(width=4, placement="houlsby", activation="gelu"),
    "prefix": Prefix(length=3, hidden=8),
    "prefix-deep": Prefix(length=3, hidden=8, layers=3, activation="relu"),
    "prefix-vectors": Prefix(length=3, hidden=8, exchange="prefix"),
    "prefix-refit": Prefix(length=3, hidden=8, exchange="refit"),
    "prompt": Prompt(length=3),
    "prompt-random": Prompt(length=3, start="random"),
    "ia3": PeftMethod(type="IA3"),
    "vera": PeftMethod(type="VeRA", arguments={"r": 4}),
    "loha": PeftMethod(type="LOHA", arguments={"r": 2}),
    "lokr": PeftMethod(type="LOKR", arguments={"r": 2}),
    "hra": PeftMethod(type="HRA", arguments={"r": 2}),
    "oft": PeftMethod(type="OFT", arguments={"oft_block_size": 4, "r": 0}),
    "dora": PeftMethod(type="LORA", arguments={"r": 2, "use_dora": True}),
    "ln": PeftMethod(type="LN_TUNING"),
}
NAMED = {tuning.kind for tuning in VARIANTS.values()}
EVERY: dict[str, Any] = VARIANTS | {
    kind: cls() for kind, cls in TUNINGS.items() if kind not in NAMED
}  # a new one as it is by itself
STARTS_ELSEWHERE = ("prefix", "prompt")  # tunings that change the output at once
ROTATIONS = ("hra", "oft", "dora")  # which change nothing up to rounding


def load(folder: Path, *, seed: int = 0, precision: Any = "float32") -> Any:
    """Return the folder's model as `assemble` would load it."""
    kind: Any = "classifier" if "bert" in folder.name else "causal"
    labels = LABELS if kind == "classifier" else ()
    return load_backbone(str(folder), kind=kind, labels=labels, precision=precision, device=CPU, base=Path(), seed=seed).model


def logits(model: Any) -> torch.Tensor:
    """Return the scores of the words, or of the classes, for two texts of unlike length; what stands in front is left out."""
    found = model(input_ids=IDS, attention_mask=MASK).logits
    return found[:, -IDS.shape[1] :] if found.dim() == 3 else found


def disturb(tuning: Any, model: Any) -> None:
    """Move every trained weight, as training would."""
    draw = torch.Generator().manual_seed(7)
    for parameter in tuning.parameters(model).values():
        parameter.data.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
