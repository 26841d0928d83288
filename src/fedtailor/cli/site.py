"""fedtailor site: what an owner of data does."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import err, say
from .site_lines import file_lines, sandbox_lines

app = typer.Typer(help="Take part in a network with data of your own.", no_args_is_help=True)
Texts = list[str] | None


@app.callback()
def site() -> None:
    """Take part in a network with data of your own."""


@app.command()
def join(  # noqa: PLR0917 - Typer passes all by name
    kit: Annotated[Path, typer.Argument(help="Your kit: that of site request, or from the server.", metavar="KIT")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Your examples: a file or folder; may be given again. Left out: as last time.")
    ] = None,
    column: Annotated[Texts, typer.Option(help="A field of the task and your column of it.", metavar="FIELD=COLUMN")] = None,
    backbone: Annotated[Texts, typer.Option(help="Where a backbone lies here.", metavar="NAME=FOLDER")] = None,
    permit: Annotated[Texts, typer.Option(help="A protocol that is permitted; left out: averaging, distillation.")] = None,
    reports: Annotated[
        Texts, typer.Option(help="What may be reported of your data; left out: examples, figures, public-fit.")
    ] = None,
    backbone_from_server: Annotated[
        bool | None,
        typer.Option(
            "--backbone-from-server/--no-backbone-from-server",
            help="Whether the server may send a backbone into your kit; left out: no.",
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Most rounds of one run.")] = None,
    gigabytes: Annotated[float | None, typer.Option(help="Most gigabytes a day, up and down together.")] = None,
    min_examples: Annotated[
        int | None, typer.Option(help="Losses and metrics over fewer examples are not reported; left out: 16.")
    ] = None,
    validation_share: Annotated[float | None, typer.Option(help="Of your examples, to measure on during training.")] = None,
    test_share: Annotated[float | None, typer.Option(help="Of your examples, to measure on at the end.")] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(
            help="none: do not restrict the site's processes, on a system that cannot. Left out: full.", metavar="full|none"
        ),
    ] = None,
    only_write: Annotated[bool, typer.Option("--only-write", help="Write the private file and stop.")] = False,
) -> None:
    """Write your private file (data, policy), say what it permits, and take part until Ctrl-C."""
    from ..network.kit.site_key import take_answer

    if taken := take_answer(kit):
        say("  took {file} into {kit}", file=taken, kit=kit)
    about = _site_role(kit)
    given: dict[str, Any] = {
        "columns": _pairs(column, "--column"),
        "backbones": _pairs(backbone, "--backbone", whole_paths=True),
        "validation_share": validation_share,
        "test_share": test_share,
        "sandbox": sandbox,
    }
    policy = {
        "protocols": permit,
        "reports": reports,
        "backbone_from_server": backbone_from_server,
        "rounds": rounds,
        "min_examples": min_examples,
        "bytes_per_day": _bytes_of(gigabytes),
    }
    file = _site_file(kit, data, given, policy)
    say("\n  [bold]{kit}[/] of network {network}, server at {server}:{port}", **about)
    for line in file_lines(kit, file):
        say("  [dim]·[/] {line}", line=line)
    say("  [dim]change it in[/] {kit}/local/fedtailor.json\n", kit=kit)
    if not only_write:
        _take_part(kit, about, file.sandbox)


def _bytes_of(gigabytes: float | None) -> int | None:
    from ..errors import SettingError

    if gigabytes is None:
        return None
    if not 0 < gigabytes < 1e9:
        raise SettingError(f"--gigabytes is a number above 0 and below 1e9, such as 20; got {gigabytes}")
    return int(gigabytes * 1e9)


def _take_part(kit: Path, about: dict[str, Any], sandbox: str) -> None:
    """Run the site's processes until Ctrl-C."""
    from ..network.command.lost_server import LostServer
    from ..network.command.processes import Marked, Tail
    from ..network.command.site_processes import LOG, REFUSED, serve_site
    from ..network.kit.certificates import check_certificates, check_server, expiry_lines
    from ..network.kit.kits import check_installed
    from ..network.site.site import DIARY

    check_installed()
    for line in sandbox_lines(sandbox, about["server"]):
        _say(line)
    check_certificates(kit, about, "site")
    for line in expiry_lines(kit / "startup" / "client.crt"):
        _say(f"note: {line}")
    if missing := check_server(kit, about):
        _say(f"{missing}; this site tries on until it answers")
    err().print("taking part; Ctrl-C ends it", style="dim")
    refused, lost = Marked(REFUSED, _say), LostServer(kit, about, _say)

    def heard(line: str) -> None:
        refused(line)
        lost(line)

    notes, engine = Tail(kit / DIARY, _say), Tail(kit / LOG, heard)

    def watch() -> None:
        notes()
        engine()

    serve_site(kit.resolve(), _say, watch)


@app.command()
def request(
    name: Annotated[str, typer.Argument(help="The site's name in the network, such as north.", metavar="NAME")],
    out_folder: Annotated[Path | None, typer.Option("--out", help="The kit's folder; left out: ./NAME.")] = None,
) -> None:
    """Make the site's own key, which stays here, and the request that who runs the network admits."""
    from ..network.kit.site_key import ANSWER, make_request

    kit = out_folder or Path(name)
    written = make_request(name, kit)
    say(
        "\n  [dim]send to who runs the network   [/] {written}\n"
        "  [dim]put what comes back into       [/] {kit}/ [dim](its name ends with {answer})[/]\n"
        "  [dim]then                           [/] fedtailor site join {kit} --data FILE\n"
        "  [dim]never leave this machine       [/] {kit}/startup/client.key and {kit}/local/agent.key\n",
        written=written,
        kit=kit,
        answer=ANSWER,
    )


@app.command()
def check(kit: Annotated[Path, typer.Argument(help="Your kit.", metavar="KIT")]) -> None:
    """Say whether the kit's certificate, this system and the server let the site take part; nothing is started or sent."""
    from ..network.kit.certificates import check_certificates, check_server
    from ..network.kit.kits import check_installed
    from ..network.kit.site_file import read_site_file
    from ..network.kit.site_key import take_answer

    take_answer(kit)
    about = _site_role(kit)
    check_installed()
    file = read_site_file(kit)
    check_certificates(kit, about, "site")
    lines = [*file_lines(kit, file), *sandbox_lines(file.sandbox, about["server"])]
    lines.append(
        check_server(kit, about) or f"the server at {about['server']}:{about['port']} answers, and takes this kit's certificate"
    )
    for line in lines:
        say("  [dim]·[/] {line}", line=line)


def _site_role(kit: Path) -> dict[str, Any]:
    """Return what a site's kit says of itself.

    Raises:
        SettingError: if it is no kit, or the server's or administrator's.
    """
    from ..errors import SettingError
    from ..network.kit.engine_settings import SERVER
    from ..network.kit.kits import kit_role
    from ..network.kit.network_file import ADMIN

    about = kit_role(kit)
    if about["kit"] in (SERVER, ADMIN):
        raise SettingError(
            f"{kit} is the {about['kit']}'s kit, and no site's: fedtailor net init made one for each site, named as it"
        )
    return about


def _site_file(kit: Path, data: list[Path] | None, given: dict[str, Any], policy: dict[str, Any]) -> Any:
    """Return the private file as it is now: what was there, with what was given put on top."""
    from dataclasses import replace

    from ..errors import DataError, SettingError
    from ..network.kit.site_file import NAME, SiteFile, read_site_file

    if data is None and not (kit / "local" / NAME).is_file():
        raise SettingError(
            f"this kit has no private file yet: say where your examples are: fedtailor site join {kit} --data FILE"
        )
    missing = next((path for path in data or [] if not path.exists()), None)
    if missing is not None:
        raise DataError(f"--data {missing}: there is no such file or folder")
    changes: dict[str, Any] = {} if data is None else {"data": tuple(str(path.resolve()) for path in data)}
    file = read_site_file(kit) if (kit / "local" / NAME).is_file() else SiteFile(**changes)
    changes |= {name: value for name, value in given.items() if value not in (None, {})}
    own: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in policy.items() if value is not None
    }
    file = replace(file, **changes, policy=replace(file.policy, **own))
    file.write(kit)
    return file


def _say(text: str) -> None:
    err().print(text, markup=False, soft_wrap=True, highlight=False)


def _pairs(texts: Texts, option: str, *, whole_paths: bool = False) -> dict[str, str]:
    from ..errors import SettingError

    found = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise SettingError(f"{option} {text!r} is not NAME=VALUE")
        found[name] = str(Path(value).resolve()) if whole_paths and Path(value).exists() else value
    return found
