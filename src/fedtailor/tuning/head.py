"""Only the head of a classifier, on features of a frozen backbone that each text is put through once.

Linear probing. Where the head reads the mean over a text's tokens (`task.pooling: mean`) a text has one vector, which is kept in memory; a step
then costs a product of a batch of vectors with the head. It is the least that can be trained, and a baseline for everything larger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import BackboneError, SettingError
from ..interfaces import POOLING
from .adapters.files import read_tensors
from .adapters.over_peft import add_note, check_bare, copy_into, head_names, is_classifier, write_labels
from .whole import save_whole
from .written import Written

# B texts, L tokens, H hidden width
MOST_BYTES = 2 << 30  # of vectors that are kept; texts beyond are put through the backbone each time


@dataclass(frozen=True, kw_only=True)
class Head:
    """Train the head of a classifier on features of the frozen backbone, which are computed once for each text."""

    learning_rates: ClassVar[Mapping[str, float]] = {"classifier": 0.1}  # that `auto` stands for
    written: ClassVar[Written] = Written(
        folder="model",
        files=("config.json",),
        forms=("merged",),
        reason="the head is a part of the model, so there is no adapter",
    )
    kind: Literal["head"] = "head"

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model itself, in evaluation mode, with its head float32 and under training; `seed` is not used: the head is drawn with the model.

        Raises:
            BackboneError: if the model has an adapter.
            SettingError: if it is no classifier.
        """
        check_bare(model)
        whole: Any = model
        if not is_classifier(model):
            raise SettingError(
                f"tuning head and a {type(model).__name__} do not go together: it has no head for classes; choose task: classification, or tuning: lora"
            )
        model.requires_grad_(False)
        for parameter in self.parameters(model).values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        if getattr(whole.config, POOLING, "") == "mean":
            remember_features(whole.base_model)
        else:
            add_note(
                model,
                "tuning: head puts each text through the backbone in every step, as its head reads more than one vector of it; with task: {pooling: mean} "
                "vectors are computed once",
            )
        return model.eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the weights of the head by the model's own names, sorted."""
        named = dict(model.named_parameters())
        return {name: named[name] for name in sorted(head_names(model, named))}

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing: there are no factors."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a model folder that transformers loads, and labels.json."""
        save_whole(model, folder)
        write_labels(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the head in the model folder into the model.

        Raises:
            SettingError: if the folder is missing, unreadable or holds a head of another shape.
        """
        found: dict[str, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            found |= read_tensors(path)
        wanted = self.parameters(model)
        for name, parameter in wanted.items():
            if name not in found or found[name].shape != parameter.shape:
                raise SettingError(
                    f"{folder} holds no model with a head of this shape ({name}); name the folder that a run wrote as model/"
                )
        copy_into(wanted, found)


def remember_features(body: nn.Module) -> None:
    """Let a frozen body put each text through once: what it gives for a text is the mean over its tokens, at each of them.

    Whoever takes the mean over tokens of that has the same vector. The body is always computed in evaluation mode.
    """
    from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

    kept: dict[bytes, Tensor] = {}
    plain: Any = body.forward

    def forward(input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **more: Any) -> Any:
        if input_ids is None or any(
            value is not None for name, value in more.items() if name in {"inputs_embeds", "past_key_values"}
        ):
            raise BackboneError("a body whose features are kept takes texts as tokens alone")
        mask_BL = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        keys = [ids[mask.bool()].numpy().tobytes() for ids, mask in zip(input_ids.cpu(), mask_BL.cpu(), strict=True)]
        missing = [row for row, key in enumerate(keys) if key not in kept]
        fresh = _means(body, plain, input_ids[missing], mask_BL[missing]) if missing else []
        found = dict(zip((keys[row] for row in missing), fresh, strict=True))
        mean_BH = torch.stack([found[key] if key in found else kept[key] for key in keys]).to(input_ids.device)
        if (len(kept) + len(found)) * mean_BH[0].nbytes <= MOST_BYTES:
            kept.update(found)
        same_BLH = mean_BH.unsqueeze(1).expand(-1, input_ids.shape[1], -1)
        return BaseModelOutputWithPoolingAndCrossAttentions(last_hidden_state=same_BLH, pooler_output=mean_BH)

    body.forward = forward


@torch.no_grad()
def _means(body: nn.Module, plain: Any, ids_ML: Tensor, mask_ML: Tensor) -> list[Tensor]:
    """Return the mean over tokens of the last hidden states of each text, float32 [H], on the CPU."""
    training, _ = body.training, body.eval()
    try:
        hidden_MLH = plain(input_ids=ids_ML, attention_mask=mask_ML).last_hidden_state.float()
    finally:
        body.train(training)
    weight_ML1 = mask_ML.unsqueeze(-1).float()
    return list(((hidden_MLH * weight_ML1).sum(1) / weight_ML1.sum(1)).cpu())
