"""The method `black-box`: a soft prompt behind each text, found by scores alone in a random subspace.

Source: Sun et al., 2022, arXiv:2201.03514 (black-box tuning), and Sun et al., 2024, arXiv:2310.01467 (FedBPT). Differences: the server alone keeps
the state of CMA-ES and clients score the points that it draws; the loss is the cross-entropy over calibrated labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...errors import SettingError
from ...limits import Few, Number, Width
from ...prompting import Prompt, prompt_of
from ...prompting.cma import Covariance, Strategy
from .evolving import Evolving
from .messages import MOST_CANDIDATES
from .method import Bench

MOST_DIMENSIONS = 4_096  # a full covariance has the square of them


@dataclass(frozen=True, kw_only=True)
class BlackBox:
    """Draw soft prompts from a cloud, let clients score them, and move the cloud (CMA-ES): one generation is one round."""

    kind: Literal["black-box"] = "black-box"
    prompt: str | Mapping[str, object] = ""  # text in front: an instruction, or {instruction: ..., layout: {...}}
    length: Width = 8  # vectors between a text and its answer
    dimensions: Width = 500  # of the random subspace that they are searched in
    population: Few = 20  # candidates of a generation
    sigma: Number = 1.0  # first step size; at 1, candidates differ from the start as words do among themselves
    covariance: Covariance = "full"  # what is learned of directions; none: the step size alone
    examples: Few = 8  # of each client, on which all candidates of all rounds are scored

    of_server: ClassVar[Mapping[str, object]] = {}

    def __post_init__(self) -> None:
        if self.length < 1:
            raise SettingError(f"length is a number of vectors, at least 1; got {self.length}")
        if not 1 <= self.dimensions <= MOST_DIMENSIONS:
            raise SettingError(f"dimensions is from 1 to {MOST_DIMENSIONS:,}; got {self.dimensions}")
        if not 4 <= self.population <= MOST_CANDIDATES:
            raise SettingError(f"population is from 4 to {MOST_CANDIDATES}; got {self.population}")
        if not self.sigma > 0:
            raise SettingError(f"sigma is a step size above 0; got {self.sigma}")
        if self.covariance not in ("full", "diagonal", "none"):
            raise SettingError(f"covariance is full, diagonal or none; got {self.covariance!r}")
        if self.examples < 1:
            raise SettingError(f"examples is a number of examples of each client, at least 1; got {self.examples}")
        _ = self.text(())

    @property
    def fewest(self) -> tuple[str, int]:
        """The setting that says how many examples of a client a score is a sum over at least."""
        return "examples", self.examples

    @property
    def strategy(self) -> Strategy:
        """The constants of the search."""
        return Strategy(dimensions=self.dimensions, population=self.population, covariance=self.covariance)

    def text(self, labels: tuple[str, ...]) -> Prompt:
        """Return the prompt in front of the texts, without vectors."""
        return prompt_of(self.prompt, "protocol.method.prompt", labels)

    def inlined(self, base: Path) -> dict[str, Any]:
        """Return nothing: no setting names a file."""
        return {}

    def carried(self, bench: Bench) -> Evolving:
        """Return the search with a model; see `Evolving`."""
        bench = bench.with_labels(self.kind)
        return Evolving(
            strategy=self.strategy,
            prompt=self.text(bench.task.words),
            length=self.length,
            sigma=self.sigma,
            examples=self.examples,
            bench=bench,
        )
