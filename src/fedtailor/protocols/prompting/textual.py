"""The method `textual-gradient`: clients' own models say what is wrong with a prompt, and the server's model edits it.

Source: Pryzant et al., 2023, arXiv:2305.03495 (ProTeGi); Chen et al., 2025, arXiv:2502.19980 (FedTextGrad). Differences: critiques are scrubbed of
spans of the examples before they leave a client; they are summarized and never strung together; edits are candidates of `search`, judged by scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from ...errors import SettingError
from ...interfaces import Federation
from ...limits import Few
from ...messages import Call, read, write
from ...printable import printable
from ...prompting import Prompt, State, prompt_from_json
from ...prompting.endpoint import VARIABLE, Endpoint, EndpointError, own_endpoint
from ...prompting.scrub import scrub
from ...records import ClientFailure
from ..rounds.sampling import Sampler
from .client import Scoring
from .messages import Criticise, Critique, written
from .method import Bench, Handlers
from .search import Search
from .searching import Proposed, Searching

STALE = ClientFailure(kind="off-manifest", mark="StaleVersion")
SHOWN = 4  # of a client's examples that its own model sees with a prompt
MOST_INSTRUCTION = 600  # characters


@dataclass(frozen=True, kw_only=True)
class TextualGradient(Search):
    """Search with children that a language model writes: clients' models criticise the leading prompt, the server's edits it."""

    kind: Literal["textual-gradient"] = "textual-gradient"  # type: ignore[assignment]
    proposals: Few = 4  # edits that the server's model is asked for in each generation, beside `children`

    of_server: ClassVar = Search.of_server

    def carried(self, bench: Bench) -> Searching:
        """Return the search with a model and with who proposes."""
        return replace(
            super().carried(bench.with_labels(self.kind)),
            proposer=Proposer(bench=bench, count=self.proposals, endpoint=own_endpoint),
        )


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """Asks clients for critiques of the leading prompt, and the server's model for better ones."""

    bench: Bench
    count: int
    endpoint: Callable[[], Endpoint | None]

    def check(self) -> None:
        """Raise SettingError if this machine's owner names no endpoint to write edits with."""
        if self.endpoint() is None:
            raise SettingError(
                f"method: textual-gradient needs a language model at the server: let the environment variable {VARIABLE} name a file with url and "
                "model, or choose method: search"
            )

    def propose(self, federation: Federation, sampler: Sampler, search: State, *, version: int) -> Proposed:
        """Return edits of the leading candidate, and what their exchange cost.

        Raises:
            EndpointError: if the server's endpoint gives nothing that can be used.
        """
        leader = search.candidates[0]
        asked = Criticise(version=version, prompt=written([leader])[0], most=SHOWN)
        critiques, traffic, failures = [], {}, []
        for reply in sorted(federation.ask(dict.fromkeys(sampler.draw(version + 1), write(asked))), key=lambda one: one.client):
            traffic[reply.client] = (reply.traffic.up_bytes, reply.traffic.down_bytes)
            found = None if reply.message is None else read(reply.message, Critique)
            if reply.error is not None or (found is not None and found.version != version):
                failures.append((reply.client, reply.error or STALE))
            elif found is not None and found.critique:
                critiques.append(found.critique)
        endpoint = self.endpoint()
        if not critiques or endpoint is None:
            return Proposed(prompts=(), traffic=traffic, critiques=len(critiques), failures=failures)
        summary = endpoint.ask(_summing(critiques))
        texts = _instructions(endpoint.ask(_editing(leader, summary, self.count)), self.count)
        return Proposed(prompts=_prompts(leader, texts), traffic=traffic, critiques=len(critiques), failures=failures)

    def handlers(self, client: Scoring) -> Handlers:
        """Return what criticises prompts at a client."""
        return {Criticise: lambda asked: criticise(client, asked, self.endpoint)}

    def calls(self) -> list[Call]:
        """Return what proposing sends."""
        return [Call(question=Criticise, answers=(Critique,))]


def criticise(client: Scoring, asked: Criticise, endpoint: Callable[[], Endpoint | None]) -> Critique:
    """Return what the client's own model finds wrong with a prompt, without what it repeats of the examples; nothing where there is no model.

    The model sees those of the client's examples that the prompt names worst.
    """
    prompt = replace(prompt_from_json(asked.prompt, "a prompt that came"), labels=tuple(client.task.words))
    examples = client.examples(4 * asked.most)
    model = endpoint()
    if model is None or len(examples) < client.few:
        return Critique(version=asked.version)
    with client.worker.precision():
        rows = client.worker.prompts.read(prompt, calibrate=client.task.calibrate).scores([text for text, _ in examples])
    margins = [row[prompt.labels.index(right)] - max(row) for row, (_, right) in zip(rows, examples, strict=True)]
    worst = sorted(range(len(rows)), key=lambda at: margins[at])[: asked.most]
    shown = [(*examples[at], prompt.labels[rows[at].index(max(rows[at]))]) for at in worst]
    try:
        text = model.ask(_criticising(prompt, shown))
    except EndpointError:  # a client without a model that answers still scores
        return Critique(version=asked.version)
    return Critique(version=asked.version, critique=scrub(printable(text), [text for text, _ in client.examples(2**31)]) or None)


def _criticising(prompt: Prompt, shown: Sequence[tuple[str, str, str]]) -> list[dict[str, str]]:
    rows = "\n".join(f"Text: {text}\nRight category: {right}\nNamed: {named}" for text, right, named in shown)
    return _chat(
        "You review instructions for a model that sorts texts into categories.",
        f"The instruction is: {prompt.instruction!r}\n\nIt was used on these texts:\n{rows}\n\nSay in at most three sentences what the instruction "
        "lacks. Speak of categories in general; quote no text, no name and no number.",
    )


def _summing(critiques: Sequence[str]) -> list[dict[str, str]]:
    return _chat(
        "You sum up reviews.",
        "Several reviewers criticise one instruction. Sum up in at most three sentences what most of them miss:\n\n"
        + "\n".join(f"- {text}" for text in critiques),
    )


def _editing(prompt: Prompt, summary: str, count: int) -> list[dict[str, str]]:
    return _chat(
        "You write instructions for a model that sorts texts into categories.",
        f"The instruction is: {prompt.instruction!r}\nIts categories are: {', '.join(prompt.labels)}\nWhat reviewers miss: {summary}\n\n"
        f"Write {count} better instructions, each of one or two sentences, each on a line of its own, without numbers in front.",
    )


def _chat(system: str, user: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _instructions(text: str, count: int) -> list[str]:
    """Return the instructions of an answer, without what lists put in front of them."""
    lines: list[Any] = [printable(line).strip().lstrip("-*0123456789.) ").strip().strip('"') for line in text.splitlines()]
    return [line for line in dict.fromkeys(lines) if 0 < len(line) <= MOST_INSTRUCTION][:count]


def _prompts(leader: Prompt, instructions: Sequence[str]) -> tuple[Prompt, ...]:
    """Return the leading prompt with other instructions; one that is too long with its examples is left out."""
    found = []
    for text in instructions:
        try:
            found.append(replace(leader, instruction=text))
        except SettingError:
            continue
    return tuple(found)
