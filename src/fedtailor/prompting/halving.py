"""Successive halving over generations of prompts: a rung scores candidates on the same examples, the better half continues with more.

Source: Jamieson and Talwalkar, 2016, arXiv:1502.07943, section 3. Differences: generations of edited survivors follow one another, and
finalists are compared on validation parts, where also the best prompt of the starting pool stands. `State` is plain values: a search
that was interrupted continues from `State.to_json` to the same bits.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..chance import stream
from ..errors import SettingError
from ..text_files import read_json
from .edits import EDITS, children
from .pool import without_twins
from .prompt import Prompt, prompt_from_json
from .score import Score

Part = Literal["train", "validation", "test", "done"]


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Settings of a search."""

    start: int = 8  # examples of each client in the first rung
    factor: int = 2  # that candidates are divided by, and examples multiplied by, from rung to rung
    keep: int = 4  # parents of a generation
    children: int = 12  # new candidates of a generation
    generations: int = 3  # the first is the pool
    edits: tuple[str, ...] = tuple(EDITS)

    def __post_init__(self) -> None:
        for name, least in (("start", 1), ("factor", 2), ("keep", 1), ("children", 0), ("generations", 1)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least {least}.")


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a search stands: what is scored next, and what was seen."""

    part: Part
    generation: int
    rung: int
    candidates: tuple[Prompt, ...]
    seen: tuple[Prompt, ...]  # every candidate so far
    pool_best: Prompt | None = None  # of the first rung
    finals: tuple[float, ...] = ()  # validation losses of the finalists, in their order
    winner: Prompt | None = None
    test_loss: float | None = None

    def to_json(self) -> str:
        """Return the state as text; the same state gives the same bytes."""
        return json.dumps(_plain(self), ensure_ascii=False, sort_keys=True)


def begin(pool: Sequence[Prompt]) -> State:
    """Return the state before the first rung.

    Raises:
        SettingError: if the pool is empty, or of twins alone.
    """
    if not pool:
        raise SettingError("the pool of prompts is empty; leave `pool` out to use the built-in one.")
    candidates = without_twins(pool, "the pool")
    return State(part="train", generation=0, rung=0, candidates=candidates, seen=candidates)


def examples_of(settings: Halving, state: State) -> int:
    """Return how many examples each client scores in the coming rung of its training part."""
    return settings.start * int(settings.factor**state.rung)


def training_rungs(settings: Halving, pool: int) -> list[tuple[int, int]]:
    """Return candidates, and examples of each client, of every rung that a search from so many prompts has at most; the validation of its finalists apart."""
    found = []
    for left in [pool, *[settings.keep + settings.children] * (settings.generations - 1)]:
        most = settings.start
        found.append((left, most))
        while (left := max(settings.keep, math.ceil(left / settings.factor))) > settings.keep:
            most *= settings.factor
            found.append((left, most))
    return found


def rungs(settings: Halving, pool: int) -> int:
    """Return how many times a search that starts from so many prompts asks for scores at most, the validation of its finalists included."""
    return len(training_rungs(settings, pool)) + 1


def advance(settings: Halving, state: State, scores: Sequence[Score], *, seed: int) -> State:
    """Return the state after a rung, from the candidates' scores, each added up over clients in their order.

    Raises:
        SettingError: if the scores are not one a candidate over the same number of examples.
    """
    if len(scores) != len(state.candidates) or len({score.examples for score in scores}) != 1:
        raise SettingError(f"expected {len(state.candidates)} scores over the same examples; found {len(scores)}.")
    losses = [score.loss if math.isfinite(score.loss) else math.inf for score in scores]
    ranked = [state.candidates[at] for at in sorted(range(len(losses)), key=lambda at: (losses[at], at))]
    if state.part == "test":
        return replace(state, part="done", candidates=(), test_loss=losses[0])
    if state.part == "validation":
        return replace(state, part="test", candidates=(ranked[0],), winner=ranked[0], finals=tuple(losses))
    if state.part == "done":
        raise SettingError("the search is over; begin a new one.")
    state = replace(state, pool_best=state.pool_best or ranked[0])
    left = ranked[: max(settings.keep, math.ceil(len(ranked) / settings.factor))]
    if len(left) > settings.keep:
        return replace(state, rung=state.rung + 1, candidates=tuple(left))
    return _next_generation(settings, state, left, seed)


def _next_generation(settings: Halving, state: State, parents: Sequence[Prompt], seed: int) -> State:
    """Return the state in which survivors compete with their children; after the last generation, that of the finalists."""
    generation = state.generation + 1
    if generation < settings.generations:
        rng = stream(seed, "prompts", generation)
        young = children(parents, settings.children, rng, names=settings.edits, seen=state.seen)
        if young:
            candidates = (*parents, *young)
            return replace(state, generation=generation, rung=0, candidates=candidates, seen=(*state.seen, *young))
    assert state.pool_best is not None
    return replace(state, part="validation", rung=0, candidates=tuple(dict.fromkeys([*parents, state.pool_best])))


def add_scores(scores: Sequence[Sequence[Score]]) -> list[Score]:
    """Return each candidate's sum over clients, added in the order given; one sequence a client."""
    return [
        Score(
            loss_sum=sum(each.loss_sum for each in column),
            right=sum(each.right for each in column),
            examples=sum(each.examples for each in column),
        )
        for column in zip(*scores, strict=True)
    ]


def state_from_json(text: str, where: str = "the state of a search") -> State:
    """Return the state that `State.to_json` wrote."""
    raw = read_json(text, where)

    def prompt(value: Any) -> Prompt:
        return prompt_from_json(json.dumps({"version": 1, **value}), where)

    lists = {name: tuple(prompt(value) for value in raw[name]) for name in ("candidates", "seen")}
    single = {name: raw[name] and prompt(raw[name]) for name in ("pool_best", "winner")}
    return State(**{**raw, **lists, **single, "finals": tuple(raw["finals"])})


def _plain(state: State) -> dict[str, Any]:
    return asdict(state)
