"""fedtailor cut: what each cut of a split job would cost, and which one is best."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import err, out, print_json
from .means import check_means
from .run import JobFile, Overrides
from .waiting import waiting

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..assembly import Parts
    from ..protocols.split.planning import Choice, CutCost, Means
    from ..protocols.split.terms import Terms

BANDWIDTH = 12.5e6  # 100 Mbit/s, unless something else is said


def cut(  # noqa: PLR0917 - Typer passes all by name
    job: JobFile,
    settings: Overrides = None,
    client_flops: Annotated[
        float | None, typer.Option(help="Operations a second at a client, such as 5e9; left out: as measured here.")
    ] = None,
    server_flops: Annotated[
        float | None, typer.Option(help="Operations a second at the server; left out: as measured here.")
    ] = None,
    bandwidth: Annotated[float, typer.Option(help="Bytes a second between a client and the server, each way.")] = BANDWIDTH,
    latency: Annotated[
        float, typer.Option(help="Seconds from a message to its answer, beside bytes and computing, such as 0.05.")
    ] = 0.0,
    client_memory: Annotated[float | None, typer.Option(help="Bytes that a client's part may take; left out: any.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON alone.")] = False,
) -> None:
    """Print what each cut of a job with protocol: split would cost, and recommend one; nothing is trained."""
    from ..errors import SettingError
    from ..protocols.split.planning import choose, slowest

    given = {
        "client_flops": client_flops,
        "server_flops": server_flops,
        "bandwidth": bandwidth,
        "client_memory": client_memory,
    }
    check_means(given, latency)
    parts = _assembled(job, settings)
    with waiting(err(), "measuring"):
        means = replace(_means(parts, given), latency_s=latency)
    worst = slowest(_costs(parts, means))
    choice, nothing = None, None
    try:
        choice = choose(worst)
    except SettingError as error:
        nothing = error  # what each cut takes is shown all the same
    if as_json:
        print_json(_as_json(worst, choice, means))
    else:
        for part in _shown(parts, worst, choice, means):
            out().print(part)
    if nothing is not None:
        raise nothing


def _assembled(job: JobFile, settings: Overrides) -> "Parts":
    """Return the parts of a split job; raise SettingError if it is another."""
    from ..errors import SettingError
    from ..job import Job
    from ..pairs import technique

    loaded = Job.load(job, settings or [])
    protocol = technique("protocol", loaded.protocol)
    if protocol.lack("cut") is not None:
        raise SettingError(
            f"fedtailor cut is for jobs with protocol: split, and this one has {protocol.name}; add 'protocol={{kind: split, cut: 1}}' to see "
            "what cuts of its backbone would cost"
        )
    with waiting(err(), "reading the data and the backbone"):
        from ..assembly import assemble

        return assemble(loaded, trust_times=True, warn=lambda text: None)


def _means(parts: "Parts", given: Mapping[str, float | None]) -> "Means":
    """Return what clients and server have to work with; what was not given is measured."""
    from ..protocols.split.planning import Means, measured_flops

    client, server, here = given["client_flops"], given["server_flops"], 0.0
    if client is None or server is None:
        most = max(parts.sampler.clients, key=lambda info: info.examples)
        here = measured_flops(_terms(parts), parts.clients[most.id].train)
    return Means(
        client_flops=client or here,
        server_flops=server or here,
        bandwidth=given["bandwidth"] or BANDWIDTH,
        memory_bytes=given["client_memory"],
    )


def _costs(parts: "Parts", means: "Means") -> "dict[str, dict[int, CutCost | str]]":
    """Return, per client, what its round costs at each cut; the clients of a round share the server."""
    from ..protocols.split.planning import Work, cut_costs

    found = {}
    for info in parts.sampler.clients:
        length = parts.clients.amounts[info.id].tokens_per_example
        work = Work(examples=info.examples, tokens_per_example=length, rounds=parts.clients.sizes_of(info.id).rounds)
        found[info.id] = cut_costs(_terms(parts), work, means, together=parts.sampler.per_round)
    return found


def _terms(parts: "Parts") -> "Terms":
    protocol: Any = parts.protocol  # of split learning: `_assembled` has seen to it
    found: Terms = protocol.terms
    return found


def _as_json(worst: "Mapping[int, CutCost | str]", choice: "Choice | None", means: "Means") -> dict[str, Any]:
    cuts = [
        {"cut": number, "impossible": cost} if isinstance(cost, str) else {**asdict(cost), "seconds": cost.seconds}
        for number, cost in worst.items()
    ]
    advice = {"recommended": choice and choice.cut, "reason": choice.reason if choice else "no cut fits in the client's memory"}
    return {"cuts": cuts, **advice, "means": asdict(means)}


def _shown(
    parts: "Parts", worst: "Mapping[int, CutCost | str]", choice: "Choice | None", means: "Means"
) -> "list[RenderableType]":
    """Return what there is to see: the table, what it stands on, and the advice."""
    from rich.padding import Padding
    from rich.text import Text

    from ..units import bytes_text, flops_text

    about = (
        f"a round of the slowest client, {parts.sampler.per_round} sharing the server; {flops_text(means.client_flops)}/s at a client, "
        f"{flops_text(means.server_flops)}/s at the server, {bytes_text(means.bandwidth)}/s between and {means.latency_s:g} s an exchange (what no option gave: as measured here, 100 Mbit/s and none); "
        "activations and the output head are left out"
    )
    impossible = sorted({cost for cost in worst.values() if isinstance(cost, str)})
    advice = [Text.assemble(("recommended: ", "dim"), (f"cut: {choice.cut}", "bold"), f"; {choice.reason}")] if choice else []
    return [
        Padding(_table(worst, choice, None if _terms(parts).auto else _terms(parts).layout.cut), (1, 2, 1, 2), expand=False),
        *(Padding(Text(f"not possible: {why}", style="yellow"), (0, 2, 1, 2), expand=False) for why in impossible),
        Padding(Text(about, style="dim"), (0, 2, 1, 2), expand=False),
        *(Padding(text, (0, 2, 1, 2), expand=False) for text in advice),
    ]


def _table(worst: "Mapping[int, CutCost | str]", choice: "Choice | None", mine: int | None) -> "RenderableType":
    from ..report.plain import plain_table
    from ..units import bytes_text, seconds_text

    table = plain_table("cut")
    for title in ("client", "link", "server", "in all", "up", "down", "memory"):
        table.add_column(title, justify="right")
    table.add_column("")
    for number, cost in worst.items():
        if isinstance(cost, str):
            table.add_row(str(number), *["–"] * 7, "not possible", style="dim")
            continue
        marks = ["recommended"] * (choice is not None and number == choice.cut) + ["the job's"] * (number == mine)
        marks += [] if cost.fits else ["too large for a client"]
        seconds = (cost.client_seconds, cost.link_seconds, cost.server_seconds, cost.seconds)
        sizes = (cost.up_bytes, cost.down_bytes, cost.memory_bytes)
        table.add_row(str(number), *map(seconds_text, seconds), *map(bytes_text, sizes), ", ".join(marks))
    return table
