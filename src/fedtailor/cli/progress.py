"""What a person sees while a run is under way: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..metrics.figure import shown_in
from ..printable import printable
from ..report.wording import figure, metric_name, plural
from ..units import bytes_text, seconds_text
from .waiting import Silence

if TYPE_CHECKING:
    from rich.console import Console

QUIET = ("loading", "warning", "evaluating")  # events at the start that end no silence
CLIENTS_NAMED = 5  # of those that an aggregation rule left out
TENTHS = 10  # of the way of a backbone, a line each


class Watcher:
    """Prints a line for each thing worth knowing; it is called with every event of a run, and remembers the folder."""

    def __init__(self, console: "Console") -> None:
        self.console = console
        self.folder = ""
        self._plan: Mapping[str, Any] = {}
        self._steps = 0  # done by all clients since the start
        self._began = 0.0  # of the first step
        self._estimated = False
        self._silence = Silence(lambda what: self.say(f"{what} …", "dim"))

    def __enter__(self) -> Self:
        self._silence.begin("loading libraries")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._silence.end()

    def __call__(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Take one event."""
        if kind not in QUIET:
            self._silence.end()
        show = getattr(self, f"on_{kind.replace('-', '_')}", None)
        if show is not None:
            show(facts)

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        from rich.text import Text

        self.console.print(Text(printable(text), style=style))

    def on_loading(self, facts: Mapping[str, Any]) -> None:
        self._silence.begin(str(facts.get("what", "")))

    def on_opening(self, facts: Mapping[str, Any]) -> None:
        self.say(f"{', '.join(facts.get('sites', []))} load their data and the backbone", "dim")

    def on_start(self, facts: Mapping[str, Any]) -> None:
        self.folder, self._plan = str(facts.get("folder", "")), facts
        asked = facts.get("clients_per_round", facts.get("clients", 0))
        who = plural(facts.get("clients", 0), "client") + (f", {asked} in a round" if asked != facts.get("clients") else "")
        steps = f" of {plural(facts.get('steps_per_round', 0), 'step')}" if facts.get("steps_per_round") else ""
        work = f"{plural(facts.get('rounds', 0), 'round')}{steps} at most"
        self.say(f"{who}  ·  {work}  ·  {facts.get('precision', '')} on {facts.get('device', '')}", "dim")

    def on_resume(self, facts: Mapping[str, Any]) -> None:
        self.say(f"resumed after round {facts.get('from_round', 0)} of {self.folder or facts.get('folder', '')}")
        self.on_start(facts)

    def on_step(self, facts: Mapping[str, Any]) -> None:
        self._began = self._began or time.monotonic()
        self._steps += 1
        if (
            self._steps == 2 and not self._estimated and self._plan.get("steps_per_round")
        ):  # the first step also warms up: it is not counted
            self._estimated = True
            per_step = time.monotonic() - self._began
            rounds = self._plan.get("rounds", 0) - self._plan.get("from_round", 0)
            left = per_step * self._plan.get("steps_per_round", 0) * rounds
            self.say(
                f"training takes about {seconds_text(left)} on this machine, {seconds_text(per_step)} a step; measuring comes on top",
                "dim",
            )

    def on_round(self, facts: Mapping[str, Any]) -> None:
        losses = [
            f"{title} {figure('loss', facts[name])}"
            for name, title in (("train_loss", "training loss"), ("validation_loss", "validation"), ("test_loss", "test"))
            if facts.get(name) is not None
        ]
        up, down = facts.get("up_bytes", 0), facts.get("down_bytes", 0)
        sent = [f"{bytes_text(up)} up, {bytes_text(down)} down"] if up or down else []  # a baseline sends nothing
        if facts.get("candidates") is not None:
            losses = [_rung(facts), *losses]
        line = [f"round {facts.get('round')} of {facts.get('rounds')}", *losses, *sent, seconds_text(facts.get("seconds", 0.0))]
        self.say("  ·  ".join(line))

    def on_evaluated(self, facts: Mapping[str, Any]) -> None:
        figures = facts.get("figures", {})
        if facts.get("round") == 0:  # the lines of the rounds and the table at the end show the others
            self.say(
                "  ·  ".join(["before", *(f"{metric_name(m)} {figure(m, figures[m])}" for m in shown_in("line") if m in figures)])
            )

    def on_warning(self, facts: Mapping[str, Any]) -> None:
        self.say(f"note: {facts.get('text', '')}", "yellow")

    on_damaged_checkpoint = on_warning

    def on_failure(self, facts: Mapping[str, Any]) -> None:
        self.say(f"client {facts.get('client', '')} dropped: {facts.get('text', '')}", "yellow")

    def on_counted_less(self, facts: Mapping[str, Any]) -> None:
        said = [
            f"{what} {_some(facts[name])}"
            for name, what in (("left_out", "left out"), ("less_than_half", "counted less than half:"))
            if facts.get(name)
        ]
        self.say(f"round {facts.get('round')}, aggregation: {'; '.join(said)}", "dim")


def _some(clients: Sequence[str]) -> str:
    """Return the first names of a list."""
    more = f" and {len(clients) - CLIENTS_NAMED} more" if len(clients) > CLIENTS_NAMED else ""
    return ", ".join(clients[:CLIENTS_NAMED]) + more


def _rung(facts: Mapping[str, Any]) -> str:
    """Return what a round of a search for prompts came to, in a line."""
    if "best_loss" not in facts:
        return f"{int(facts['candidates'])} finalists, no validation examples"
    what = "finalists, validation" if facts.get("validation") else "prompts"
    losses = f"loss {figure('loss', facts['best_loss'])} best, {figure('loss', facts['median_loss'])} median"
    return f"{int(facts['candidates'])} {what} on {int(facts['scored'])} examples  ·  {losses}"


class Complaints(Watcher):
    """Prints warnings and failures alone, a plain line each, for those who read the output by program."""

    def __call__(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Take one event."""
        if kind in {"start", "resume"}:
            self.folder = str(facts.get("folder", ""))
        elif kind in {"warning", "failure", "damaged-checkpoint"}:
            super().__call__(kind, facts)

    def say(self, text: str, style: str = "") -> None:
        """Print one line as it is: neither styled nor wrapped."""
        self.console.print(printable(" ".join(text.split())), markup=False, soft_wrap=True)


class Bars(Watcher):
    """The same with bars for rounds, clients and steps, and the time left."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(console)
        self._bars = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._rounds = self._bars.add_task("loading", total=None)
        self._clients = self._bars.add_task("clients", total=None, visible=False)
        self._now = self._bars.add_task("steps", total=None, visible=False)
        self._seen: list[str] = []

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._bars.stop()

    def on_loading(self, facts: Mapping[str, Any]) -> None:
        self._bars.update(self._rounds, description=str(facts.get("what", ""))[:28])

    def on_start(self, facts: Mapping[str, Any]) -> None:
        super().on_start(facts)
        self._bars.update(self._rounds, description="rounds", total=facts.get("rounds"), completed=facts.get("from_round", 0))

    def on_step(self, facts: Mapping[str, Any]) -> None:
        super().on_step(facts)
        client, step, steps = str(facts.get("client", "")), facts.get("step", 0), facts.get("steps", 1)
        if client not in self._seen:
            self._seen.append(client)
        asked = self._plan.get("clients_per_round") or len(self._seen)
        of_round = (len(self._seen) - 1 + step / max(1, steps)) / max(1, asked)
        done = self._bars.tasks[self._rounds].completed
        self._bars.update(self._rounds, completed=int(done) + min(0.999, of_round))
        self._bars.update(self._clients, description="clients", total=asked, completed=len(self._seen) - 1, visible=True)
        self._bars.update(
            self._now,
            description=f"{client}, loss {figure('loss', facts.get('loss', 0.0), brief=True)}",
            total=steps,
            completed=step,
            visible=True,
        )

    def on_evaluating(self, facts: Mapping[str, Any]) -> None:
        name, done, of = f"measuring {facts.get('what', '')}", facts.get("done", 0), facts.get("of", 1)
        self._bars.update(self._clients, visible=False)
        self._bars.update(self._now, description=name, total=of, completed=done, visible=True)

    def on_round(self, facts: Mapping[str, Any]) -> None:
        super().on_round(facts)
        self._seen.clear()
        self._bars.update(self._rounds, completed=facts.get("round", 0))
        for bar in (self._clients, self._now):
            self._bars.update(bar, visible=False)


class Deliveries(Watcher):
    """Prints a line for every tenth of the way to each site."""

    def __init__(self, console: "Console") -> None:
        """Begin with nothing sent."""
        super().__init__(console)
        self._tenths: dict[str, int] = {}

    def on_opening(self, facts: Mapping[str, Any]) -> None:
        self.say(f"the server asks {', '.join(facts.get('sites', []))} what is missing there", "dim")

    def on_offer(self, facts: Mapping[str, Any]) -> None:
        size = f"{bytes_text(facts.get('size_bytes', 0))} in {plural(facts.get('files', 0), 'file')}"
        self.say(f"backbone {facts.get('backbone', '')}: {size}", "dim")

    def on_piece(self, facts: Mapping[str, Any]) -> None:
        site, sent, of = str(facts.get("site", "")), facts.get("sent_bytes", 0), facts.get("of_bytes", 0)
        tenth = TENTHS * sent // max(1, of)
        if tenth > self._tenths.get(site, -1):
            self._tenths[site] = tenth
            self.say(f"{site}  ·  {TENTHS * tenth} %  ·  {bytes_text(sent)} of {bytes_text(of)}", "dim")


def watch(console: "Console", *, quiet: bool = False) -> Watcher:
    """Return bars on a terminal and plain lines elsewhere, or complaints alone if `quiet`; use it in a `with`."""
    if quiet:
        return Complaints(console)
    return Bars(console) if console.is_terminal else Watcher(console)
