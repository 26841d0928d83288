"""No weight is trained: what is exchanged, measured and saved is the text of a prompt, byte for byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..pairs import Need
from ..tensors import Tensors
from .adapters.over_peft import check_bare
from .written import Written

FILE = "prompt.json"
TENSOR = "prompt"  # the bytes of that file, uint8 [n]


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """Train nothing: the weights stay as they are, and what is found is a prompt."""

    learning_rates: ClassVar[Mapping[str, float]] = {}
    any_length: ClassVar[bool] = True  # what is exchanged is as long as the text
    written: ClassVar[Written] = Written(
        folder="prompt",
        files=(FILE,),
        forms=("prompt",),
        usual="prompt",
        reason="no weight was trained; the result is the text of a prompt",
    )
    needs: ClassVar[Sequence[Need]] = (Need(word="prompts", remedy="choose protocol: prompting, or tuning: lora"),)
    kind: Literal["none"] = "none"

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model itself, frozen and in evaluation mode, with no prompt in place; `seed` is not used.

        Raises:
            BackboneError: if the model has an adapter.
        """
        check_bare(model)
        vars(model)["prompt_text"] = ""
        return model.requires_grad_(False).eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return nothing."""
        return {}

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing: there are no factors."""
        return {}

    def exchanged(self, model: nn.Module) -> Tensors:
        """Return the bytes of the prompt in place, uint8 [n]; of length 0 where there is none."""
        return {TENSOR: bytes_tensor(prompt_text(model))}

    def receive(self, model: nn.Module, tensors: Tensors) -> None:
        """Put the prompt whose bytes came into place.

        Raises:
            SettingError: if they are no text.
        """
        vars(model)["prompt_text"] = tensor_text(tensors[TENSOR])

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write prompt.json: the bytes of the prompt in place."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_bytes(prompt_text(model).encode())

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Put the prompt in `folder` into place.

        Raises:
            SettingError: if it is missing or no text.
        """
        try:
            vars(model)["prompt_text"] = (folder / FILE).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as fault:
            raise SettingError(f"{folder / FILE} cannot be read ({fault}); name the prompt folder of a run") from None


def prompt_text(model: nn.Module) -> str:
    """Return the text of prompt.json that is in place at a model; "" if none is."""
    found: Any = getattr(model, "prompt_text", "")
    return str(found)


def bytes_tensor(text: str) -> Tensor:
    """Return the UTF-8 bytes of a text, uint8 [n]."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) if text else torch.zeros(0, dtype=torch.uint8)


def tensor_text(tensor: Tensor) -> str:
    """Return the text of UTF-8 bytes.

    Raises:
        SettingError: if they are none.
    """
    try:
        return bytes(tensor.to(torch.uint8).tolist()).decode()
    except UnicodeDecodeError:
        raise SettingError("the prompt that came is no UTF-8 text") from None
