"""What the server of prompting keeps from round to round, so that a run resumes in the middle of a search."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...messages import Record, state_of, tensors_of
from ...messages.record import tensor
from ...prompting import Prompt, State, state_from_json
from ...prompting import Score as Sums
from ...prompting.cma import Cloud
from ...records import ServerState
from ...tuning import bytes_tensor, tensor_text
from ...tuning.none import TENSOR

ARRAYS = ("mean", "covariance", "path_c", "path_sigma", "axes", "scales")  # of a cloud


@dataclass(frozen=True, kw_only=True)
class Searched(Record):
    """What `search` keeps."""

    search: Tensor | None = tensor("search")  # uint8, the bytes of `State.to_json`


@dataclass(frozen=True, kw_only=True)
class Evolved(Record):
    """What `black-box` keeps: its cloud, float64; n dimensions."""

    mean: Tensor | None = tensor("mean")  # [n]
    covariance: Tensor | None = tensor("covariance")  # [n, n]
    path_c: Tensor | None = tensor("path_c")  # [n]
    path_sigma: Tensor | None = tensor("path_sigma")  # [n]
    axes: Tensor | None = tensor("axes")  # [n, n]
    scales: Tensor | None = tensor("scales")  # [n]
    sigma: Tensor | None = tensor("sigma")  # [1]
    generation: Tensor | None = tensor("generation")  # int64 [1]


def with_search(search: State, version: int) -> ServerState:
    """Return a search as the state of a server: the leading prompt is what is shared."""
    kept = Searched(search=bytes_tensor(search.to_json()))
    return _state(search.winner or search.candidates[0], kept, version)


def search_of(state: ServerState) -> State:
    """Return where a search stands."""
    kept = state_of(Searched, state.method).search
    assert kept is not None
    return state_from_json(tensor_text(kept))


def as_they_stand(search: State) -> list[Sums]:
    """Return sums by which candidates keep their order."""
    return [Sums(loss_sum=float(place), right=0, examples=1) for place in range(len(search.candidates))]


def with_cloud(cloud: Cloud, found: Prompt, version: int) -> ServerState:
    """Return a cloud as the state of a server: the prompt at its middle, `found`, is what is shared."""
    return _state(found, evolved(cloud), version)


def cloud_of(state: ServerState) -> Cloud:
    """Return the cloud that a server's state holds."""
    return cloud_in(state_of(Evolved, state.method))


def evolved(cloud: Cloud) -> Evolved:
    """Return a cloud as it is kept."""
    return Evolved(
        **{name: torch.from_numpy(getattr(cloud, name).copy()) for name in ARRAYS},
        sigma=torch.tensor([cloud.sigma], dtype=torch.float64),
        generation=torch.tensor([cloud.generation], dtype=torch.int64),
    )


def cloud_in(kept: Evolved) -> Cloud:
    """Return the cloud that was kept, to the same bits."""
    assert kept.sigma is not None
    assert kept.generation is not None
    arrays = {name: getattr(kept, name).numpy() for name in ARRAYS}
    return Cloud(**arrays, sigma=float(kept.sigma), generation=int(kept.generation))


def _state(shared: Prompt, kept: Record, version: int) -> ServerState:
    return ServerState(version=version, shared={TENSOR: bytes_tensor(shared.to_json())}, method=tensors_of(kept))
