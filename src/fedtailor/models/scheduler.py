"""What a denoiser answers, and at which levels of noise: the scheduler_config.json that diffusers writes beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..causes import detail_of
from ..errors import BackboneError
from .build import shown
from .files import AGAIN, read_mapping

SCHEDULER = "scheduler_config.json"
FLOW = "FlowMatchEulerDiscreteScheduler"
DIFFUSION = (
    "DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)  # whose levels of noise follow from betas alike  # fmt: skip
PREDICTS: Mapping[str, Literal["epsilon", "v"]] = {"epsilon": "epsilon", "v_prediction": "v"}
OF_LEVELS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
MOST_LEVELS = 100_000


def read_scheduler(folder: Path) -> tuple[Literal["flow", "epsilon", "v"], tuple[float, ...]]:
    """Return what the model of a folder answers, as its scheduler says, and the share of a picture at each level of noise; none with flow.

    Raises:
        BackboneError: if there is no scheduler, or one that means something else.
    """
    path = folder / SCHEDULER
    if not path.is_file():
        raise BackboneError(
            f"backbone folder {folder} has no {SCHEDULER}, which says what the model was trained to answer; put the one of its pipeline there, or "
            "make a backbone with fedtailor pretrain"
        )
    said = read_mapping(path)
    kind, predicts = said.get("_class_name"), said.get("prediction_type", "epsilon")
    if kind == FLOW:
        return "flow", ()
    if kind not in DIFFUSION:
        raise BackboneError(
            f"{path}: the backbone was trained for a {shown(kind)}, and flow matching ({FLOW}) and the levels of noise of {', '.join(DIFFUSION)} are "
            "known here; name another backbone, or make one with fedtailor pretrain"
        )
    if predicts not in PREDICTS:
        raise BackboneError(
            f"{path}: prediction_type is {shown(predicts)}, and {' and '.join(PREDICTS)} are known here; name another backbone, or make one with fedtailor pretrain"
        )
    if said.get("rescale_betas_zero_snr") and predicts == "epsilon":
        raise BackboneError(
            f"{path}: rescale_betas_zero_snr is true, with which noise alone is the last level, and prediction_type is epsilon, which says nothing of a picture "
            "there; a model that predicts so was trained otherwise: correct the file, or name another backbone"
        )
    return PREDICTS[predicts], _kept(said, path)


def _kept(said: Mapping[str, Any], path: Path) -> tuple[float, ...]:
    """Return the products of 1 - beta, as diffusers makes them of a scheduler's settings."""
    from diffusers import DDPMScheduler

    levels = said.get("num_train_timesteps", 1000)
    try:
        if type(levels) is not int or not 1 <= levels <= MOST_LEVELS:
            raise ValueError(f"num_train_timesteps is {shown(levels)}")
        kept = DDPMScheduler(**{name: said[name] for name in OF_LEVELS if name in said}).alphas_cumprod.tolist()
        if not all(0 <= share < 1 for share in kept) or len(kept) != levels:
            raise ValueError("its betas are not between 0 and 1")
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as fault:
        raise BackboneError(f"{path} describes no levels of noise ({detail_of(fault)}); {AGAIN}") from None
    return tuple(kept)
