"""fedtailor net: what the server's owner does."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import err, out, say
from .net_keys import admit, renew, revoke
from .push import push_backbone
from .run import Overrides, carry_out, show_end

if TYPE_CHECKING:
    from ..job import Job

app = typer.Typer(help="Jobs on many machines: make a network, serve it, see who is there.", no_args_is_help=True)
app.command("push-backbone")(push_backbone)
for command in (admit, renew, revoke):
    app.command()(command)
NetFolder = Annotated[Path, typer.Argument(help="The folder of net init, or the administrator's kit in it.", metavar="NET")]


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="A YAML file: server: HOST, and, for trials, sites: [NAME, ...].", metavar="FILE")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Left out: a folder named as the network, beside the file.")
    ] = None,
) -> None:
    """Make certificates, and kits for server and administrator, and for sites that the file names; run it again to add some."""
    from ..network.kit.authority import make_network
    from ..network.kit.kits import server_kit
    from ..network.kit.network_file import read_network

    network = read_network(file)
    folder = out_folder or file.parent / network.name
    kits = make_network(network, folder)
    for kit in kits:
        out().print(f"  wrote {kit}", highlight=False, soft_wrap=True)
    if not kits:
        out().print(f"  nothing to do: {folder} has the kits of {', '.join(network.sites)} already", highlight=False)
    if network.host == "localhost":
        err().print(
            "note: server: localhost is reached from this machine alone; write the name that others know it by", style="yellow"
        )
    site = (
        "fedtailor site join NAME --data FILE   [dim](send each its kit, by a way that you trust: it holds a key)[/]"
        if network.sites
        else "fedtailor site request NAME, and what it wrote comes here: fedtailor net admit {folder} REQUEST"
    )
    say(
        "\n  [dim]at the server    [/] fedtailor net serve {server}\n"
        f"  [dim]at each site  [/] {site}\n"
        "  [dim]keep secret   [/] {folder}/authority, which signs further kits, and {folder}/admin\n",
        folder=folder,
        server=server_kit(folder),
    )


@app.command()
def serve(
    kit: Annotated[Path, typer.Argument(help="The server's kit, or the folder of net init that has it.", metavar="KIT")],
) -> None:
    """Serve a network until Ctrl-C; a server that dies is started again."""
    from ..errors import SettingError
    from ..network.command.processes import Marked, Tail
    from ..network.command.processes import serve as run_engine
    from ..network.kit.certificates import check_certificates, expiry_lines
    from ..network.kit.engine_settings import SERVER
    from ..network.kit.kits import FILE, check_installed, kit_role, server_kit

    kit = server_kit(kit) if (server_kit(kit) / FILE).is_file() else kit
    about = kit_role(kit)
    if about["kit"] != SERVER:
        raise SettingError(f"{kit} is the kit of {about['kit']}; the server's is beside it, in {SERVER}/")
    check_installed()
    check_certificates(kit, about, SERVER)

    def notice(text: str) -> None:
        err().print(text, markup=False, soft_wrap=True)

    for line in expiry_lines(kit / "startup" / "server.crt"):
        notice(f"note: {line}")
    err().print(
        f"serving {about['network']} on port {about['port']} for {', '.join(about['sites']) or 'sites that are admitted'}; Ctrl-C ends it",
        style="dim",
    )
    run_engine(kit.resolve(), notice, Tail(kit / "log.txt", Marked("fedtailor noticed", notice)))


@app.command()
def status(net: NetFolder) -> None:
    """Say who is there, since when, until when certificates are valid, and what each reported when it last took part in a run."""
    import time

    from ..network.kit.authority import certificate_ends
    from ..network.kit.certificates import ending
    from ..network.kit.kits import admin_kit, check_installed, kit_role, last_reported
    from ..report.plain import plain_table
    from ..units import seconds_text

    check_installed()
    kit = admin_kit(net)
    role, about = kit_role(kit), last_reported(kit)
    from ..federation.nvflare.administration import ServerSession  # takes seconds: after all that can be said without it

    with ServerSession(kit, role["user"]) as server:
        there = server.connected()
    table = plain_table(f"{role['network']}, server at {role['server']}:{role['port']}")
    ends = certificate_ends(net)
    for title in ("last sign of life", "certificate until", "examples", "device", "versions"):
        table.add_column(title)
    for site in sorted({*role["sites"], *there}):
        info = about.get(site, {})
        seen = f"{seconds_text(max(0.0, time.time() - there[site]))} ago" if site in there else "not connected"
        versions = ", ".join(f"{name} {info['versions'][name]}" for name in ("fedtailor", "torch") if info.get("versions"))
        memory = f", {info['memory_gb']} GB" if info.get("memory_gb") else ""
        until = f"{ends[site]:%Y-%m-%d}" if site in ends else "–"
        table.add_row(site, seen, until, str(info.get("examples", "–")), f"{info.get('device', '–')}{memory}", versions or "–")
    out().print(table)
    for name, end in ends.items():
        for line in ending(f"of {name}", end):
            err().print(f"note: {line}", style="yellow", soft_wrap=True, markup=False)


@app.command(name="try")
def try_net(
    job: Annotated[
        Path | None, typer.Argument(help="A job with at most 4 clients; left out: two libraries, one round.", metavar="[JOB]")
    ] = None,
    settings: Overrides = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where kits and logs go; absent or empty. Left out: a new folder among the temporary ones."),
    ] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="The run folder; left out: runs/NAME-TIME.")] = None,
) -> None:
    """Carry out a job on a network that is all on this machine: a server and a site for each client, in separate processes."""
    show_end(carry_out_here(_job(job, settings or []), folder, out_folder), samples=0)


def carry_out_here(job: "Job", folder: Path | None, out_folder: Path | None) -> Path:
    """Carry out a job on a network of this machine whose kits and logs go to `folder`, and return the run's folder."""
    from ..network.command.world import make_world, running

    world = make_world(job, folder or Path(tempfile.mkdtemp(prefix="fedtailor-net-try-")))
    err().print(f"certificates and kits for {', '.join(world.network.sites)} are in {world.folder}", style="dim")
    with running(world, lambda text: err().print(text, style="dim")):
        return carry_out(job, out_folder=out_folder, network=world.folder).folder


def _job(file: Path | None, settings: list[str]) -> "Job":
    from importlib.resources import as_file, files

    from ..job import Job

    if file is not None:
        return Job.load(file, settings)
    small = ["name=try", "data.packages=[numpy, scipy]", "data.package_limit=60", "stop.rounds=1", "protocol.local.steps=4"]
    with as_file(files("fedtailor.cli.demos").joinpath("main.yaml")) as demo:
        return Job.load(demo, [*small, *settings]).replace("base", str(Path.cwd()))
