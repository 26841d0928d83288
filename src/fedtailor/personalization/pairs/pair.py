"""A client's model of two adapters, in a folder: written, and loaded again.

The first adapter is a folder of PEFT's, which PEFT loads as it is, alone. Beside it stand mixture.json, which says how the second joins it, and
mixture.safetensors: the second's factors, and the centroid or the gates that their shares come from.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ...errors import SettingError
from ...tensors import Tensors, clone
from ...tuning.adapters.files import read_tensors
from ...tuning.adapters.mixture import load_factors, settings_of
from ...tuning.adapters.over_peft import attach_saved
from ...tuning.adapters.second import adapter_parameters, add_adapter
from .gate import Gates
from .instance import InstanceShare

SETTINGS, VALUES = "mixture.json", "mixture.safetensors"
CENTROID = "centroid"


def save_pair(model: nn.Module, folder: Path, *, second: str, values: Tensors, **settings: str | float | bool) -> None:
    """Write the second adapter beside the first, which is in `folder` already.

    Args:
        values: the centroid, or the gates.
        settings: `shares`, instance or gates, and what these need.
    """
    rank, alpha = settings_of(model, second)
    content = {"second": second, "rank": rank, "alpha": alpha, **settings}
    (folder / SETTINGS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_file(clone({**adapter_parameters(model, second), **values}), folder / VALUES)


def load_personal(model: nn.Module, folder: Path) -> nn.Module:
    """Return the model that a client ended with, in evaluation mode: `adapter/` of its folder, put on a backbone.

    With a share that depends on the example, whoever calls the model gives it each batch first: `model.by_instance.begin`; our
    evaluation and generation do.

    Args:
        model: the backbone, of transformers, bare; it is changed in place.
        folder: what a run wrote; a plain adapter of PEFT's will do.

    Raises:
        SettingError: if the folder is missing, damaged, or fits another backbone.
    """
    tuned = attach_saved(model, folder)
    if not (folder / SETTINGS).is_file():
        return tuned.eval()
    try:
        content: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        make = SHARES[content["shares"]]
        second = str(content["second"])
        add_adapter(tuned, second, rank=content["rank"], alpha=content["alpha"], trained=False, seed=0)
        values = read_tensors(folder / VALUES)
        load_factors(tuned, second, values)
        placed = make(tuned, second, values, content).placed()
        placed.__enter__()
        vars(tuned)["mixture"] = placed  # held on to: a context that nobody holds ends
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise SettingError(f"{folder / SETTINGS} cannot be read ({fault!r}); is the folder whole?") from fault
    return tuned.eval()


def _instance(model: nn.Module, second: str, values: Tensors, content: dict[str, Any]) -> InstanceShare:
    return InstanceShare(model, second, centroid_H=values[CENTROID], scale=content["scale"], pooled=content["pooled"])


def _gates(model: nn.Module, second: str, values: Tensors, content: dict[str, Any]) -> Gates:
    return Gates(model, second, values)


SHARES: dict[str, Callable[[nn.Module, str, Tensors, dict[str, Any]], InstanceShare | Gates]] = {
    "instance": _instance,
    "gates": _gates,
}
