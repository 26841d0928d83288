"""Where the sublayers of a transformer, or of a UNet, give their result back to the stream."""

import re
from collections.abc import Mapping

from torch import nn

from ...errors import SettingError

# the last linear layers of attention and of the feed-forward part, as families of models call them; both must be there
FAMILIES = (
    (r"self_attn\.o_proj", r"mlp\.down_proj"),  # Llama, Mistral, Qwen, Gemma, SmolLM, Phi-3
    (r"attn\.c_proj", r"mlp\.c_proj"),  # GPT-2
    (r"attention\.output\.dense", r"(?<!attention\.)output\.dense"),  # BERT, RoBERTa, ELECTRA, DeBERTa
    (r"attention\.out_lin", r"ffn\.lin2"),  # DistilBERT
    (r"attention\.dense", r"mlp\.dense_4h_to_h"),  # GPT-NeoX
    (r"self_attention\.dense", r"mlp\.dense_4h_to_h"),  # BLOOM, Falcon
    (r"self_attn\.out_proj", r"(?<!\w)fc2"),  # OPT
    (r"self_attn\.dense", r"mlp\.fc2"),  # Phi
    (r"attn\.Wo", r"mlp\.Wo"),  # ModernBERT
    (r"attn1\.to_out\.0", r"ff\.net\.2"),  # DiT
    (r"attentions\.\d+\.to_out\.0", r"resnets\.\d+\.conv2"),  # UNet, whose blocks end in a convolution
)


def output_layers(model: nn.Module, *, attention: bool) -> Mapping[str, nn.Module]:
    """Return the layers that end the feed-forward part of each block, by name, in the order of the model.

    Args:
        attention: whether those that end attention are wanted too.

    Raises:
        SettingError: if the model is of no known family.
    """
    for attends, feeds in FAMILIES:
        found = {kind: _ending(model, kind) for kind in (attends, feeds)}
        if all(found.values()):
            wanted = {**found[feeds], **(found[attends] if attention else {})}
            return {name: module for name, module in model.named_modules() if name in wanted}
    raise SettingError(
        f"tuning adapter and a {type(model).__name__} do not go together: its sublayers are of no family that adapters are known "
        "for; try tuning: lora, with targets if need be"
    )


def _ending(model: nn.Module, pattern: str) -> dict[str, nn.Module]:
    ends = re.compile(rf"(?:.*\.)?{pattern}")
    return {name: module for name, module in model.named_modules() if ends.fullmatch(name)}
