"""A search's state as that of a server, so that a run resumes in the middle of it."""

from ...prompting import Score as Sums
from ...prompting import State, state_from_json
from ...records import ServerState
from ...tuning import bytes_tensor, tensor_text
from ...tuning.none import TENSOR

SEARCH = "search"  # the bytes of the search's state, in the server's state


def server_state(search: State, version: int) -> ServerState:
    """Return a search as the state of a server: the leading prompt is what is shared."""
    leader = search.winner or search.candidates[0]
    return ServerState(
        version=version,
        shared={TENSOR: bytes_tensor(leader.to_json())},
        method={SEARCH: bytes_tensor(search.to_json())},
    )


def search_of(state: ServerState) -> State:
    """Return where a search stands."""
    return state_from_json(tensor_text(state.method[SEARCH]))


def as_they_stand(search: State) -> list[Sums]:
    """Return sums by which candidates keep their order."""
    return [Sums(loss_sum=float(place), right=0, examples=1) for place in range(len(search.candidates))]
