"""The method `search` with a model: the server proposes prompts, adds up scores, and proposes better ones."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from ...errors import SettingError
from ...interfaces import Federation
from ...ledger import Sizes
from ...messages import Call
from ...prompting import NEUTRAL, Halving, Prompt, State, advance, begin, examples_of
from ...prompting import Score as Sums
from ...prompting.halving import rungs
from ...prompting.score import head_ids
from ...prompting.shots import with_own
from ...records import ClientFailure, ClientId, Cost, Round, ServerState
from ..rounds.sampling import Sampler
from .asking import ask_scores, figures, nobody_scored, with_traffic
from .client import Scoring
from .cost import candidate_scores, lengths, round_cost
from .messages import TRAINING, VALIDATION, Score, Scored, prompts_in, scoring_call, written
from .method import Bench, Handlers
from .state import as_they_stand, search_of, with_search

ALL = 2**31  # more examples than a client has


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """Prompts that somebody proposes, and what it cost to find them."""

    prompts: Sequence[Prompt]
    traffic: Mapping[ClientId, tuple[int, int]]  # bytes up and down
    critiques: int
    failures: Sequence[tuple[ClientId, ClientFailure]] = ()


class Proposer(Protocol):
    """Who proposes further candidates of a generation, beside the edits."""

    def check(self) -> None:
        """Raise SettingError if it cannot."""

    def propose(self, federation: Federation, sampler: Sampler, search: State, *, version: int) -> Proposed:
        """Return prompts made of the leading candidate."""

    def handlers(self, client: Scoring) -> Handlers:
        """Return what it asks clients for."""

    def calls(self) -> list[Call]:
        """Return what it sends."""


@dataclass(frozen=True, kw_only=True)
class Searching:
    """What a search is carried out with."""

    halving: Halving
    pool: Sequence[Prompt]
    bench: Bench
    proposer: Proposer | None = None

    validated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        bench = self.bench
        for prompt in self.pool:
            if (needed := bench.needed(prompt)) > bench.room:
                raise SettingError(
                    f"protocol.method.pool: the prompt that begins {prompt.instruction[:40]!r} needs {needed:,} tokens with its {len(prompt.shots)} "
                    f"examples, a text of {bench.task.max_tokens} and a label, and the backbone reads {bench.room:,}; shorten it, show fewer examples, or "
                    "lower task.max_tokens"
                )
        bench.task.reading(bench.worker, self.pool[0])  # labels and backbone are found fit, or named, before anything is done

    @property
    def rounds(self) -> int:
        """How many rounds the search takes at most."""
        return rungs(self.halving, len(self.pool))

    def notes(self, rounds: int, patience: int | None) -> Iterator[str]:
        """Yield what is to be said before a run of so many rounds."""
        if any(prompt.own_shots for prompt in self.pool):
            yield "shots: own: the server has no examples to show, so its test figures, and those of fedtailor try, are of the prompt without them"
        if self.rounds > rounds:
            yield (
                f"the search takes up to {self.rounds} rounds, and stop.rounds: {rounds} ends it before its finalists are validated; "
                f"set stop.rounds: {self.rounds}"
            )

    def begun(self) -> ServerState:
        """Return the state before the first rung: the first prompt of the pool leads."""
        return with_search(begin(self.pool), 0)

    def start(self) -> ServerState:
        """Return that state, if what proposes prompts can."""
        self._check_proposer()
        return self.begun()

    def serve(self, federation: Federation, state: ServerState, sampler: Sampler) -> Generator[Round, None, None]:
        """Yield after each rung until the finalists are validated.

        Raises:
            TooFewClients: if less than the quorum answered, twice.
            RunError: if no client had enough examples.
        """
        self._check_proposer()  # a run that is resumed would else search on without one, as another run
        search = search_of(state)
        while search.part in ("train", "validation"):
            index = state.version + 1
            request = self._request(search, version=state.version)
            answered = ask_scores(
                federation,
                sampler,
                request,
                version=request.version,
                most=request.most,
                candidates=len(request.prompts),
                quorum=self.bench.quorum,
                training=search.part == "train",
            )
            if answered.sums is None and search.part == "train":
                raise nobody_scored(index, self.bench.few)
            row = {
                "candidates": float(len(search.candidates)),
                "generation": float(search.generation),
                "rung": float(search.rung),
                "validation": float(search.part == "validation"),
                **(figures(answered.sums, named=bool(self.bench.task.words)) if answered.sums else {"scored": 0.0}),
            }
            generation = search.generation
            search = advance(self.halving, search, answered.sums or as_they_stand(search), seed=sampler.seed)
            if answered.sums is None:  # without validation examples the leading finalist wins by what it scored in training
                search = replace(search, finals=())
            rows, failures = answered.rows, answered.failures
            if self.proposer is not None and search.generation > generation and search.part == "train":
                proposed = self.proposer.propose(federation, sampler, search, version=state.version)
                young = tuple(prompt for prompt in dict.fromkeys(proposed.prompts) if prompt not in search.seen)
                search = replace(search, candidates=(*search.candidates, *young), seen=(*search.seen, *young))
                row |= {"critiques": float(proposed.critiques), "proposed": float(len(young))}
                rows, failures = with_traffic(rows, proposed.traffic), [*failures, *proposed.failures]
            search = replace(search, candidates=tuple(prompt for prompt in search.candidates if self.fits(prompt)))
            state = with_search(search, index)
            yield Round(index=index, state=state, figures=row, clients=rows, failures=failures)

    def _check_proposer(self) -> None:
        if self.proposer is not None:
            self.proposer.check()

    def _request(self, search: State, *, version: int) -> Score:
        validation = search.part == "validation"
        return Score(
            version=version,
            part=VALIDATION if validation else TRAINING,
            most=ALL if validation else examples_of(self.halving, search),
            prompts=written(search.candidates),
        )

    def fits(self, prompt: Prompt) -> bool:
        """Return whether prompt, longest text and longest label fit the model's context; one that does not is scored by nobody."""
        return self.bench.needed(prompt) <= self.bench.room

    def handlers(self, client: Scoring) -> Handlers:
        """Return what scores prompts at a client."""
        more = {} if self.proposer is None else self.proposer.handlers(client)
        return {Score: lambda asked: score_prompts(client, asked), **more}

    def calls(self) -> list[Call]:
        """Return what a search sends."""
        return [scoring_call(), *([] if self.proposer is None else self.proposer.calls())]

    def lengths(self, rounds: int) -> tuple[int, int]:
        """Return the bytes that a client sends and gets in a rung, on average over so many."""
        return lengths(self.halving, self.pool, rounds=rounds)

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one rung, estimated, on average over the search."""
        answers = self.bench.answer_tokens()
        heads = [len(head_ids(self.bench.worker.processor, prompt)) for prompt in self.pool]
        neutral = len(NEUTRAL) * (sum(answers) + 4) if self.bench.task.calibrate else 0
        return round_cost(
            self.halving,
            sizes,
            pool=len(self.pool),
            examples=examples,
            tokens_per_example=tokens_per_example + 4,  # what the layout puts around a text
            read_tokens=sum(heads) / len(heads) + neutral,
            answer_tokens=sum(answers),
        )

    def outcome(self, state: ServerState) -> dict[str, Any]:
        """Return what the search came to, for summary.json."""
        search = search_of(state)
        leader = search.winner or search.candidates[0]
        return {
            "found": leader.to_json(),
            "prompt": leader.head() + leader.tail("{text}"),
            "chosen_by": "validation" if search.finals else "training",
            "finals": list(search.finals),
            "best_of_pool": None if search.pool_best is None else search.pool_best.head() + search.pool_best.tail("{text}"),
            "candidates": len(search.seen),
            "pool": len(self.pool),
        }

    def described(self) -> Iterator[tuple[str, str]]:
        """Yield what is searched and what goes down."""
        shown, own = (
            max(each(prompt) for prompt in self.pool)
            for each in (lambda prompt: len(prompt.shots), lambda prompt: prompt.own_shots)
        )
        examples = f", up to {shown} public examples in each" if shown else ", no examples in them"
        if own:
            examples = f", up to {own} of a client's own examples in each, which stay there"
        yield (
            "pool",
            f"{len(self.pool):,} prompts{examples}; {self.halving.generations} generations in up to {self.rounds} rounds",
        )
        if not self.bench.task.words:
            yield "scored by", "the likelihood of each example's own answer, in nats a token"
        if self.bench.task.scored_by == "endpoint":
            reads, texts = candidate_scores(self.halving, len(self.pool))
            yield (
                "scored by",
                "the language model that each client's owner names on his machine: texts of examples go there, and nowhere else; about "
                f"{texts:,} requests in a search, or {texts + reads * len(NEUTRAL):,} if it gives likelihoods (calls of that file)",
            )
        if self.proposer is None:
            yield "goes down", "the texts of prompts, made of the pool alone; no client's text is in them"
            return
        yield "goes down", "the texts of prompts, made of the pool and of critiques"
        yield (
            "critiques",
            "texts that each client's own model writes of its examples, scrubbed of spans of them, leave a client that has a model",
        )


def score_prompts(client: Scoring, asked: Score) -> Scored:
    """Return how well prompts fit a client's examples, with the tokens that a client computes which reads the prompts itself."""
    worker, prompts = client.worker, prompts_in(asked.prompts, client.task.words)
    shown = max((prompt.own_shots for prompt in prompts), default=0)
    examples, own = client.examples(asked.most, asked.part, shown=shown), client.own_shots(shown)

    def score(prompt: Prompt) -> tuple[Sums, int]:
        reading = client.task.reading(worker, prompt)
        found = reading.score(examples, batch=worker.evaluation.batch_size)
        return found, reading.tokens + reading.tokens_of([text for text, _ in examples])

    return client.scored([with_own(prompt, own) for prompt in prompts], examples, score, version=asked.version)
