"""fedtailor net admit, renew and revoke: what the network's operator does with sites' certificates."""

from pathlib import Path
from typing import Annotated

import typer

from .console import out, say

Net = Annotated[Path, typer.Argument(help="The folder of net init.", metavar="NET")]


def admit(
    net: Net,
    requests: Annotated[
        list[Path], typer.Argument(help="What sites sent: fedtailor site request wrote it.", metavar="REQUEST...")
    ],
) -> None:
    """Sign the requests of sites that made their own keys; what is written goes back to them."""
    from ..network.kit.authority import admit as sign

    for request in requests:
        out().print(f"  wrote {sign(net, request)}", highlight=False, soft_wrap=True)
    say(
        "\n  [dim]send each back; its site puts it into its kit and joins. It holds no key, but must not be changed on the way.[/]\n"
    )


def renew(net: Net) -> None:
    """Give all that are not revoked new certificates, for another 360 days, for the keys that they have."""
    from ..network.kit.authority import renew as renew_all

    for answer in renew_all(net):
        out().print(f"  wrote {answer}", highlight=False, soft_wrap=True)
    say("\n  [dim]send each to its site, which puts it into its kit and joins again; serve the network again[/]\n")


def revoke(net: Net, name: Annotated[str, typer.Argument(help="The site.", metavar="NAME")]) -> None:
    """Have the server refuse a site's certificates from now on."""
    from ..network.kit.authority import revoke as refuse

    written = refuse(net, name)
    say(
        "  {name} is refused within seconds [dim](by {written}; if the server's kit lies elsewhere, copy it there)[/]",
        name=name,
        written=written,
    )
