"""The server's part of prompting: it proposes prompts, adds up scores, and proposes better ones."""

import math
import statistics
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import RunError
from ...interfaces import Federation
from ...messages import read, write
from ...messages.record import facts_of
from ...prompting import Halving, Prompt, State, add_scores, advance, examples_of, state_from_json
from ...prompting import Score as Sums
from ...records import ClientFailure, ClientId, Reply, Round, ServerState
from ...tuning import bytes_tensor, tensor_text
from ...tuning.untrained import TENSOR
from ..rounds.attempts import Tried, until_enough
from ..rounds.sampling import Sampler
from .messages import TRAINING, VALIDATION, Score, Scored, written
from .settings import Prompting

SEARCH = "search"  # the bytes of the search's state, in the server's state
ALL = 2**31  # more examples than a client has


@dataclass(frozen=True, kw_only=True)
class _Rung:
    """What one exchange with the asked clients gives."""

    answers: Mapping[ClientId, Scored]
    rows: Sequence[Mapping[str, Any]]


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


def serve(
    settings: Prompting,
    halving: Halving,
    federation: Federation,
    state: ServerState,
    sampler: Sampler,
    *,
    fits: Callable[[Prompt], bool],
) -> Generator[Round, None, None]:
    """Yield after each rung until the finalists are validated; what was yielded last is all that is needed to go on.

    Args:
        fits: whether a prompt leaves room in the model's context; one that does not is scored by nobody.

    Raises:
        TooFewClients: if less than the quorum answered, twice.
        RunError: if no client had enough examples.
    """
    search = search_of(state)
    while search.part in ("train", "validation"):
        index = state.version + 1
        request = _request(halving, search, version=state.version)

        def ask(request: Score = request, index: int = index) -> Tried[_Rung]:
            asked = sampler.draw(index)
            found, failures = _collect(federation.ask(dict.fromkeys(asked, write(request))), request)
            return Tried(found=found, asked=len(asked), answered=len(found.answers), failures=failures, rows=lambda: found.rows)

        enough = until_enough(ask, index=index, what="usable scores", quorum=settings.quorum, learning_rate=1.0)
        scores = _sums(enough.found.answers)
        if scores is None and search.part == "train":
            raise RunError(
                f"round {index}: no client has {settings.few} examples to score prompts on (protocol.few), or all withhold their scores; lower few, "
                "or give clients more examples. The state is saved"
            )
        figures = {
            "candidates": float(len(search.candidates)),
            "generation": float(search.generation),
            "rung": float(search.rung),
            "validation": float(search.part == "validation"),
            **(_figures(scores) if scores else {"scored": 0.0}),
        }
        search = advance(halving, search, scores or _as_they_stand(search), seed=sampler.seed)
        if scores is None:  # without validation examples the leading finalist wins by what it scored in training
            search = replace(search, finals=())
        search = replace(search, candidates=tuple(prompt for prompt in search.candidates if fits(prompt)))
        state = server_state(search, index)
        rows = [{**row, "rungs": 1} for row in enough.numbered(enough.found.rows)]
        yield Round(index=index, state=state, figures=figures, clients=rows, failures=enough.failures)


def _request(halving: Halving, search: State, *, version: int) -> Score:
    validation = search.part == "validation"
    return Score(
        version=version,
        part=VALIDATION if validation else TRAINING,
        most=ALL if validation else examples_of(halving, search),
        prompts=written(search.candidates),
    )


def _collect(replies: Iterable[Reply], request: Score) -> tuple[_Rung, dict[ClientId, ClientFailure]]:
    """Return the usable answers with a row for each client, and the failures; all in the order of client ids."""
    found: dict[ClientId, Reply] = {}
    for reply in replies:
        found.setdefault(reply.client, reply)  # a second answer to one request counts for nothing
    answers: dict[ClientId, Scored] = {}
    failures: dict[ClientId, ClientFailure] = {}
    rows = []
    for client, reply in sorted(found.items()):
        traffic = reply.traffic
        row: dict[str, Any] = {"client": client, "up_bytes": traffic.up_bytes, "down_bytes": traffic.down_bytes}
        row["exchange_seconds"] = traffic.seconds
        scored = None if reply.message is None else read(reply.message, Scored)
        failure = reply.error if scored is None else _fault(scored, request)
        if failure is not None:
            failures[client] = failure
            row["error"] = f"{failure.kind}: {failure.mark}"
        elif scored is not None:
            row |= facts_of(scored, but=("version", "loss_sums", "right", "scored"))
            row |= {"examples": scored.scored, "tokens": 0, "steps": 0}  # it trained on none
            answers[client] = scored
        rows.append(row)
    return _Rung(answers=answers, rows=rows), failures


def _fault(scored: Scored, request: Score) -> ClientFailure | None:
    """Return why an answer that passed the gate is of no use, or None."""
    count, mark = len(request.prompts), None
    if scored.version != request.version:
        mark = "StaleVersion"
    elif scored.scored > request.most:
        mark = "OtherCount"
    elif scored.loss_sums is not None and (
        len(scored.loss_sums) != count or scored.right is None or len(scored.right) != count or max(scored.right) > scored.scored
    ):
        mark = "OtherScores"
    return None if mark is None else ClientFailure(kind="off-manifest", mark=mark)


def _sums(answers: Mapping[ClientId, Scored]) -> list[Sums] | None:
    """Return each prompt's sums over all clients that scored, in the order of their ids; None if none did."""
    having = [(one, one.loss_sums, one.right) for _, one in sorted(answers.items()) if one.scored]
    sums = [
        [Sums(loss_sum=loss, right=hits, examples=one.scored) for loss, hits in zip(losses, right, strict=True)]
        for one, losses, right in having
        if losses is not None and right is not None
    ]
    return add_scores(sums) if sums else None


def _as_they_stand(search: State) -> list[Sums]:
    """Return sums by which candidates keep their order."""
    return [Sums(loss_sum=float(place), right=0, examples=1) for place in range(len(search.candidates))]


def _figures(scores: Sequence[Sums]) -> dict[str, float]:
    losses = sorted(score.loss for score in scores if math.isfinite(score.loss))
    best = min(scores, key=lambda score: score.loss)
    return {
        "scored": float(best.examples),
        "best_loss": losses[0],
        "median_loss": statistics.median(losses),
        "worst_loss": losses[-1],
        "best_accuracy": best.right / best.examples,
    }
