"""Bottleneck adapters: h + W_up f(W_down h) on what a sublayer gives back, before it is added to the stream.

Sources: Houlsby et al., 2019, arXiv:1902.00751, section 2.1 (after attention and after the feed-forward part of each layer);
Pfeiffer et al., 2020, arXiv:2005.00247, section 3.2.1 and arXiv:2005.00052 (after the feed-forward part alone).
Differences: W_up starts at zero, so nothing changes before training (Houlsby: normal values of 0.01); layer norms stay frozen;
in the Pfeiffer placement the adapter reads the feed-forward part's output before the residual is added and normed, for all models.
No library that works with transformers 5 has these, so the layers and the folder are ours: see `load_adapter`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from safetensors.torch import save_file
from torch import Tensor, nn

from ..chance import stream_seed, torch_draws
from ..errors import BackboneError, SettingError
from ..limits import Width
from ..tensors import clone
from .adapters.files import CONFIG, WEIGHTS, read_config, read_tensors
from .adapters.over_peft import HEADS, is_classifier, restore_tensors, write_labels
from .adapters.targets import label_rows
from .checks import check_choice, check_count, check_share
from .layers.prefix_network import ACTIVATIONS
from .layers.sublayers import output_layers
from .written import Written

SPREAD = 0.02  # standard deviation of W_down at the start, as of BERT's and GPT-2's own matrices
FORMAT = "fedtailor-adapter"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """Train small bottleneck layers behind the sublayers of each block, and a classifier's head."""

    learning_rates: ClassVar[Mapping[str, float]] = {
        "causal": 0.001,
        "classifier": 0.001,
        "classifier-head": 0.1,
        "denoiser": 0.001,
    }  # that `auto` stands for
    written: ClassVar[Written] = Written(
        forms=("adapter",), reason="bottleneck layers are not linear, so they join no weights, and PEFT has no such method"
    )
    kind: Literal["adapter"] = "adapter"
    width: Width = 64  # of the bottleneck: weights trained and bytes sent grow with it
    placement: Literal["pfeiffer", "houlsby"] = "pfeiffer"  # behind the feed-forward part alone, or behind attention too
    activation: Literal["relu", "gelu", "tanh"] = "relu"  # in the bottleneck
    dropout: float = 0.0  # share of the bottleneck's values that are left out in training, in [0, 1)

    def __post_init__(self) -> None:
        check_count("width", self.width, "8 to 256 are usual")
        check_choice("placement", self.placement, ("pfeiffer", "houlsby"))
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_share("dropout", self.dropout)

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model itself, in evaluation mode, with adapters drawn from `seed`: nothing changes before training.

        A classifier's head is trained whole, and so are what the backbone's folder lacked (`model.fresh_modules`) and the tables of labels of a model that makes
        pictures.

        Raises:
            BackboneError: if the model has an adapter already.
            SettingError: if its sublayers are of no known family.
        """
        if hasattr(model, "peft_config") or any(isinstance(module, Bottleneck) for module in model.modules()):
            raise BackboneError("the model has an adapter already; load the backbone again")
        layers = output_layers(model, attention=self.placement == "houlsby")
        with torch_draws(stream_seed(seed, "tuning")):
            for layer in layers.values():
                device = next(layer.parameters()).device
                adapter = Bottleneck(
                    _values_out(layer), self.width, self.activation, self.dropout, channels_first=isinstance(layer, nn.Conv2d)
                )
                layer.add_module("adapter", adapter.to(device))
                layer.register_forward_hook(_through_adapter)
        heads = {*HEADS, *getattr(model, "fresh_modules", ())} if is_classifier(model) else set()
        rows = tuple(f".{end}" for end in label_rows(model))
        for name, module in model.named_modules():
            if name in heads or f".{name}".endswith(rows):
                module.float().requires_grad_(True)
        return model.eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the trained parameters by the model's own names, sorted."""
        return dict(sorted((name, p) for name, p in model.named_parameters() if p.requires_grad))

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing: there are no factors."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors in our own format, and labels.json beside a classifier's."""
        folder.mkdir(parents=True, exist_ok=True)
        base = str(getattr(model, "name_or_path", ""))
        facts = {"format": FORMAT, "version": 1, "base_model_name_or_path": base, "settings": asdict(self)}
        (folder / CONFIG).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        save_file(clone(self.parameters(model)), folder / WEIGHTS, metadata={"format": "pt"})
        write_labels(model, folder)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy the adapter in `folder` into the model.

        Raises:
            SettingError: if the folder is missing, unreadable or holds an adapter of another shape.
        """
        restore_tensors(self.parameters(model), folder)


def load_adapter(model: nn.Module, folder: Path | str) -> nn.Module:
    """Return a transformers model, loaded as usual, with the bottleneck adapter of `folder` in place; it is changed in place.

    Raises:
        SettingError: if the folder holds none of ours, or one that does not fit the model.
    """
    place = Path(folder)
    facts = read_config(place)
    if facts.get("format") != FORMAT:
        raise SettingError(f"{place} holds no adapter of fedtailor's; if PEFT wrote it, use PeftModel.from_pretrained")
    known = {item.name for item in fields(Adapter)}
    tuning = Adapter(**{name: value for name, value in facts["settings"].items() if name in known})
    # what the backbone's folder lacked was trained too, such as a pooler; the file alone says so
    vars(model)["fresh_modules"] = sorted(
        {name.rpartition(".")[0] for name in read_tensors(place / WEIGHTS) if ".adapter." not in name}
    )
    tuned = tuning.attach(model.requires_grad_(False), seed=0)
    restore_tensors(tuning.parameters(tuned), place, more_in_file=False)
    return tuned


class Bottleneck(nn.Module):
    """h + W_up f(W_down h); the identity as long as W_up is zero. Its weights are float32.

    Behind a convolution, whose values are channels, it does so at each pixel: both maps are convolutions of 1 × 1, and held as the matrices that these are.
    """

    def __init__(self, values: int, width: int, activation: str, dropout: float, *, channels_first: bool = False) -> None:
        super().__init__()
        self._channels_first = channels_first
        self.down, self.up = nn.Linear(values, width), nn.Linear(width, values)
        self.activation, self.dropout = ACTIVATIONS[activation](), nn.Dropout(dropout)
        nn.init.normal_(self.down.weight, std=SPREAD)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return a tensor of the shape and dtype of `hidden`."""
        values = hidden.movedim(1, -1) if self._channels_first else hidden
        change: Tensor = self.up(self.dropout(self.activation(self.down(values))))
        return hidden + (change.movedim(-1, 1) if self._channels_first else change).to(hidden.dtype)


def _through_adapter(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    changed: Tensor = layer.get_submodule("adapter")(output)
    return changed


def _values_out(layer: nn.Module) -> int:
    """Return how many values a layer gives back: a convolution in its channels; GPT-2's Conv1D calls them `nf`."""
    values = next((getattr(layer, name) for name in ("out_features", "out_channels", "nf") if hasattr(layer, name)), None)
    if not isinstance(values, int):
        raise BackboneError(f"a {type(layer).__name__} does not say how many values it gives back; try tuning: lora")
    return values
