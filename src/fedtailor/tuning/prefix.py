"""Prefix tuning: trained keys and values that every attention layer sees before those of the text.

Source: Li and Liang, 2021, arXiv:2101.00190, section 4; in a federation arXiv:2601.00526 (Ye et al.). PEFT passes the prefix
as past keys and values, so the positions of the text's tokens start at `length`, in training and in generation.
Our own reading: of the paper's "3-layer MLP", embedding and two linear layers, since that alone gives its 25 M weights; and what
`exchange: prefix` and `refit` do in detail. Difference: the network runs once a step, where PEFT's runs once for each example.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call

from ..chance import stream_seed, torch_draws
from ..errors import SettingError
from ..limits import Width
from ..tensors import Tensors, clone
from .adapters.files import check_fit, read_tensors
from .adapters.over_peft import ADAPTER, attach_in_front, copy_into, restore_tensors, save_peft, task_settings, trained_by_name
from .checks import check_choice, check_count
from .layers.prefix_network import ACTIVATIONS, PrefixNetwork, PrefixVectors
from .prompt import PUBLISHED, published_vectors
from .written import Written

NETWORK = "prompt_encoder."  # what the names of the network's weights begin with
NETWORK_FILE = "prefix_network.safetensors"  # beside PEFT's files, which hold the vectors alone


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Train keys and values that stand before those of the text in every attention layer, and a classifier's head."""

    written: ClassVar[Written] = Written(
        forms=("peft",), reason="a prefix stands before the text, not in the weights", in_front=True
    )
    kind: Literal["prefix"] = "prefix"
    length: Width = 10  # positions before the text; each takes a position of the context
    hidden: Width = 512  # width of the network that makes the vectors
    layers: Literal[2, 3] = 2  # linear layers of the network
    activation: Literal["tanh", "relu", "gelu"] = "tanh"  # between the network's layers
    exchange: Literal["network", "prefix", "refit"] = "network"  # averaged: its weights, bare vectors, or the vectors it makes

    def __post_init__(self) -> None:
        check_count("length", self.length, "5 to 50 are usual")
        check_count("hidden", self.hidden, "512 is usual")
        check_choice("layers", self.layers, (2, 3))
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("exchange", self.exchange, ("network", "prefix", "refit"))

    @property
    def learning_rates(self) -> Mapping[str, float]:
        """What `auto` stands for: bare vectors learn at a hundred times the network's."""
        bare = self.exchange == "prefix"
        return {"causal": 0.1 if bare else 0.001, "classifier": 0.01 if bare else 0.0001, "classifier-head": 0.1}

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model, in evaluation mode, with a prefix drawn from `seed`: its output changes at once.

        All three kinds of exchange start from the same vectors; with `prefix` they are trained themselves, without a network.

        Raises:
            SettingError: if the model takes no past keys and values.
        """
        from peft import PrefixTuningConfig

        _check_takes_past(model)
        tuned: Any = attach_in_front(
            model, PrefixTuningConfig(num_virtual_tokens=self.length, **task_settings(model)), seed, kind=self.kind
        )
        bare = tuned.prompt_encoder[ADAPTER].embedding.weight  # PEFT's, for its shape: it knows about grouped heads
        inner: Any = model
        with torch_draws(stream_seed(seed, "prefix")):
            network = PrefixNetwork(
                length=self.length,
                width=inner.get_input_embeddings().weight.shape[1],
                hidden=self.hidden,
                layers=self.layers,
                activation=self.activation,
                values=bare.shape[1],
            ).to(bare.device)
        if self.exchange == "refit":
            network.remember()
        encoder = PrefixVectors(network.vectors().detach()) if self.exchange == "prefix" else network
        tuned.prompt_encoder[ADAPTER] = encoder.eval()
        whole: nn.Module = tuned
        return whole

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return the network's weights, or the vectors [length, layers * 2 * width of keys], and what else is trained, sorted."""
        trained = trained_by_name(model)
        return published_vectors(trained) if self.exchange == "prefix" else trained

    def exchanged(self, model: nn.Module) -> Tensors:
        """Return what is sent: the trained weights, or with `refit` the vectors in the place of the network's, sorted."""
        trained = self.parameters(model)
        if self.exchange != "refit":
            return trained
        others = {name: p for name, p in trained.items() if not name.startswith(NETWORK)}
        return dict(sorted({**others, PUBLISHED: _encoder(model).vectors().detach()}.items()))

    def receive(self, model: nn.Module, tensors: Tensors) -> None:
        """Put what came into place; with `refit` the seed's network is fitted to the vectors, whatever was in place before.

        Args:
            tensors: named and shaped as `exchanged`.
        """
        if self.exchange == "refit":
            _encoder(model).refit(tensors[PUBLISHED])
        copy_into({name: p for name, p in self.parameters(model).items() if name in tensors}, tensors)

    @property
    def compares(self) -> str:
        """Clients are compared by their prefixes, since many networks make the same one."""
        return "prefix"

    def compared(self, model: nn.Module, tensors: Tensors) -> Tensors:
        """Return the prefix that the exchanged `tensors` make: keys, then values, [length, 2 * width of keys] for each layer.

        Source: arXiv:2601.00526 compares prefixes behind the network. Empty if part of the network is not among `tensors`.
        """
        vectors_ND = tensors.get(PUBLISHED)
        if vectors_ND is None:
            network = {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}
            if network.keys() != dict(_encoder(model).named_parameters()).keys():
                return {}
            with torch.no_grad():
                vectors_ND = functional_call(_encoder(model), network, (torch.zeros(1, self.length),))[0]
        tuned: Any = model
        parts = vectors_ND.float().chunk(tuned.peft_config[ADAPTER].num_layers, dim=1)  # as PEFT has them: layer by layer
        return {f"layer_{index:02d}": part for index, part in enumerate(parts)}

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return nothing: there are no factors."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a plain prefix that PEFT loads, without the network; that goes to a file of its own, for `restore`."""
        save_peft(model, folder)
        if self.exchange != "prefix":
            save_file(clone(self._network(model)), folder / NETWORK_FILE)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy what `save` wrote into the model.

        Raises:
            SettingError: if a file is missing, unreadable or of another shape.
        """
        network = {} if self.exchange == "prefix" else self._network(model)
        others = {name: p for name, p in self.parameters(model).items() if name not in network}
        restore_tensors(others, folder, more_in_file=bool(network))
        if network:
            path = folder / NETWORK_FILE
            if not path.is_file():
                raise SettingError(
                    f"{folder} has no {NETWORK_FILE}: it holds the prefix without the network that made it; "
                    "name a run's adapter folder, or use exchange: prefix"
                )
            found = read_tensors(path)
            check_fit(path, found, network)
            copy_into(network, found)

    def _network(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        return {name: p for name, p in self.parameters(model).items() if name.startswith(NETWORK)}


def _encoder(model: Any) -> Any:
    return model.prompt_encoder[ADAPTER]


def _check_takes_past(model: nn.Module) -> None:
    """Raise SettingError unless the model, or the body below its head, can be given keys and values of earlier positions."""
    inner: Any = model
    body = getattr(inner, "base_model", inner)
    if not any("past_key_values" in inspect.signature(part.forward).parameters for part in (inner, body)):
        raise SettingError(
            f"tuning prefix and a {type(model).__name__} do not go together: it takes no keys and values of earlier positions; "
            "try tuning: lora, adapter or prompt"
        )
