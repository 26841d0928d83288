"""fedtailor net push-backbone: what the server sends to sites that lack a backbone."""

from pathlib import Path
from typing import Annotated

import typer

from .console import complain, err, out

FINE = ("whole", "had")  # states of a site that has the backbone at the end
WORDS = {"whole": "has it now", "had": "had it already"}


def push_backbone(
    net: Annotated[Path, typer.Argument(help="The folder of net init, or the administrator's kit in it.", metavar="NET")],
    backbone: Annotated[str, typer.Argument(help="As a job names it; the server must have it.", metavar="BACKBONE")],
    site: Annotated[
        list[str] | None, typer.Option(help="Who gets it; may be given again. Left out: all that are connected.", metavar="SITE")
    ] = None,
) -> None:
    """Send a backbone from the server to sites that lack it and whose owners permit that; what has arrived is not sent again."""
    from ..network.command.push import push_on
    from ..report.plain import plain_table
    from ..units import bytes_text, seconds_text
    from .progress import Deliveries

    try:
        rows = push_on(net, backbone, sites=site or [], watcher=Deliveries(err()))
    except KeyboardInterrupt:
        complain("stopped; what has arrived at sites is kept there, and the same command continues with it")
        raise typer.Exit(1) from None
    table = plain_table("backbone")
    for title in ("state", "sent to it", "on the wire"):
        table.add_column(title)
    for row in rows:
        cost = [bytes_text(row["down_bytes"]), seconds_text(row["seconds"])] if row["down_bytes"] else ["–", "–"]
        table.add_row(row["site"], WORDS.get(row["state"], row["state"]), *cost)
    out().print(table)
    failed = [row for row in rows if row["state"] not in FINE]
    for row in failed:
        err().print(f"{row['site']} {row['state']}: {row['text']}", style="yellow", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
