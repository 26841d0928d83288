"""The method `search`: a pool of instructions, layouts and public examples, edited and chosen by successive halving.

Source: Jamieson and Talwalkar, 2016, arXiv:1502.07943, section 3; see `prompting.halving` for the differences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...chance import stream
from ...errors import SettingError, named
from ...limits import Few, Rounds
from ...prompting import Halving, Prompt, builtin_pool, prompt_of, read_pool
from ...prompting.edits import EDITS
from ...prompting.pool import read_entries, without_twins
from ...prompting.prompt import MOST_SHOTS
from ...prompting.shots import Pair, draw_shots, read_shots
from ...text_files import expanded
from .messages import MOST_CANDIDATES
from .method import Bench
from .searching import Searching

OWN = "own"  # in the place of a file
POOL, SHOTS = "protocol.method.pool", "protocol.method.shots"  # settings that name files


@dataclass(frozen=True, kw_only=True)
class Search:
    """Score a pool of prompts on ever more examples, keep the better ones, edit them, and begin again."""

    kind: Literal["search"] = "search"
    pool: str | Sequence[str | Mapping[str, object]] | None = (
        None  # starting instructions: a YAML file, or a list; null: the built-in ones
    )
    layouts: Few = 1  # of the built-in pool: its 12 instructions times so many layouts, 1 to 3
    shots: str | Sequence[Sequence[str]] | None = (
        None  # a JSON Lines file of public examples with text and label, which are shown in prompts and travel with them; own: each client shows its own
    )
    shot_counts: Sequence[int] = (0,)  # of examples in a prompt: the pool is made once with each count
    start: Few = 8  # examples of each client in the first rung
    factor: Few = 2  # that candidates are divided by, and examples multiplied by, from rung to rung
    keep: Few = 4  # parents of a generation, and finalists
    children: int = 12  # new candidates of a generation
    generations: Rounds = 3  # the first is the pool
    edits: Sequence[str] = tuple(EDITS)  # by which children are made: drop, swap, insert, recombine, layout

    of_server: ClassVar[Mapping[str, object]] = {"pool": None, "shots": None, "shot_counts": [0]}

    def __post_init__(self) -> None:
        if unknown := [name for name in self.edits if name not in EDITS]:
            raise SettingError(f"there is no edit {unknown[0]!r}; choose from {', '.join(EDITS)}")
        if self.children > 0 and not self.edits:
            raise SettingError(
                f"edits is empty, and children are made by them; choose from {', '.join(EDITS)}, or set children: 0"
            )
        if not 1 <= self.layouts <= 3:
            raise SettingError(f"layouts is 1, 2 or 3; got {self.layouts}")
        if any(isinstance(count, bool) or count < 0 for count in self.shot_counts) or not self.shot_counts:
            raise SettingError(f"shot_counts are whole numbers from 0, at least one of them; got {list(self.shot_counts)}")
        if any(self.shot_counts) and self.shots is None:
            raise SettingError("shot_counts needs examples: name a file of public ones in shots, or write shots: own")
        if self.shots == OWN and max(self.shot_counts) > MOST_SHOTS:
            raise SettingError(
                f"a prompt shows at most {MOST_SHOTS} of a client's own examples; got shot_counts: {list(self.shot_counts)}"
            )
        if self.keep + max(0, self.children) > MOST_CANDIDATES:
            raise SettingError(f"keep and children are at most {MOST_CANDIDATES} together; got {self.keep + self.children}")
        _ = self.halving

    @property
    def fewest(self) -> tuple[str, int]:
        """The setting that says how many examples of a client a score is a sum over at least."""
        return "start", self.start

    @property
    def halving(self) -> Halving:
        """What successive halving is carried out with."""
        names = [item.name for item in fields(Halving)]
        return Halving(**{name: getattr(self, name) for name in names if name != "edits"}, edits=tuple(self.edits))

    def prompts(self, labels: Sequence[str], base: Path, seed: int) -> tuple[Prompt, ...]:
        """Return the pool for these labels; relative paths start at `base`.

        Raises:
            SettingError: if a file is missing or holds something else, or there are too many prompts.
        """
        if self.pool is None:
            plain = builtin_pool(labels, layouts=self.layouts)
        elif isinstance(self.pool, str):
            with named(POOL):
                plain = read_pool(expanded(base, self.pool, POOL), labels)
        else:
            where = POOL
            if not self.pool:
                raise SettingError(f"{where} is empty; leave it out to use the built-in one")
            plain = without_twins(
                [prompt_of(entry, f"{where}, prompt {at}", labels) for at, entry in enumerate(self.pool, 1)], where
            )
        public = self.public_shots(base)
        with named(SHOTS):
            pool = [
                replace(prompt, own_shots=count)
                if self.shots == OWN
                else replace(prompt, shots=draw_shots(public, count, stream(seed, "shots", count), labels))
                for count in self.shot_counts
                for prompt in plain
            ]
        if len(pool) > MOST_CANDIDATES:
            raise SettingError(f"the pool has {len(pool)} prompts, and a rung scores at most {MOST_CANDIDATES}; leave some out")
        return without_twins(pool, "the pool of prompts")

    def public_shots(self, base: Path) -> tuple[Pair, ...]:
        """Return the public examples, text and label's words.

        Raises:
            SettingError: if the file is missing or holds something else.
        """
        if self.shots is None or self.shots == OWN:
            return ()
        if isinstance(self.shots, str):
            with named(SHOTS):
                return read_shots(expanded(base, self.shots, SHOTS))
        return tuple((str(text), str(label)) for text, label in self.shots)

    def inlined(self, base: Path) -> dict[str, Any]:
        """Return the settings that name files, with what the files hold in their place: for a server that has not the files."""
        found: dict[str, Any] = {}
        if isinstance(self.pool, str):
            with named(POOL):
                found["pool"] = read_entries(expanded(base, self.pool, POOL))
        if isinstance(self.shots, str) and self.shots != OWN:
            found["shots"] = [list(pair) for pair in self.public_shots(base)]
        return found

    def carried(self, bench: Bench) -> Searching:
        """Return the search with a model; see `Searching`."""
        return Searching(halving=self.halving, pool=self.prompts(bench.task.words, bench.base, bench.worker.seed), bench=bench)
