"""The command `fedtailor`: its commands, and how they end.

Exit codes: 0 done, 2 the user must fix the job, the data or the command, 1 anything else.
"""

import os
import sys

import typer

from ..errors import FedtailorError, JobError, SettingError
from ..old_names import OLD_NAMES, new_name
from .console import complain
from .trimmed import trim_imports

DONE, FAILED, FIX = 0, 1, 2
HELP = """Customize a language model across private data: several owners, one model, nothing shown to anyone.

Start here:  [bold]fedtailor demo[/]  (about three minutes; --list has others), then  [bold]fedtailor init[/]  and  [bold]fedtailor run job.yaml[/].
"""


def make_app() -> typer.Typer:
    """Return the app with all commands; what they need is imported when they run, so that --help answers at once."""
    from .advise import advise
    from .audit import audit
    from .cache import app as cache
    from .check import check
    from .claims import app as claims
    from .compare import compare
    from .cut import cut
    from .demo import demo
    from .diagnose import diagnose
    from .export import export
    from .init import init, schema
    from .models import app as models
    from .net import app as net
    from .pretrain import pretrain
    from .rag import app as rag
    from .recipe import app as recipe
    from .report import report
    from .run import run
    from .show import show
    from .site import app as site
    from .sweep import sweep
    from .tryout import tryout
    from .watch import watch

    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    first, then = (
        (demo, init, check, advise, cut, run, sweep),
        (show, report, audit, watch, diagnose, compare, tryout, export, pretrain, schema),
    )
    for command in (*first, *then):
        app.command("try" if command is tryout else None)(command)
    app.add_typer(models, name="models")
    app.add_typer(cache, name="cache")
    app.add_typer(recipe, name="recipe")
    app.add_typer(claims, name="claims")
    app.add_typer(rag, name="rag")
    app.add_typer(net, name="net")
    app.add_typer(site, name="site")
    return app


def options(
    debug: bool = typer.Option(False, "--debug", help="Show the whole traceback of an error; may stand anywhere."),
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    """Handle the options that stand before any command; `main` has taken --debug already."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"fedtailor {version_of('fedtailor')}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code; an error is one paragraph on stderr."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    trim_imports()
    app = make_app()
    try:
        if "--version" in given[:1]:
            options(debug=debug, version=True)
        _check_flags(given)
        app(args=given, prog_name="fedtailor")
    except typer.Exit:
        sys.exit(DONE)
    except FedtailorError as error:
        if debug:
            raise
        complain(str(error))
        sys.exit(FIX if isinstance(error, JobError) else FAILED)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except Exception as error:
        if debug:
            raise
        if (known := _foreseen(error)) is not None:
            complain(known)
            sys.exit(FIX)
        from ..causes import detail_of

        complain(f"something went wrong that fedtailor did not foresee: {detail_of(error)}. Add --debug to see where.")
        sys.exit(FAILED)


def _check_flags(given: list[str]) -> None:
    """Raise SettingError if a flag is named as it was called before."""
    old = OLD_NAMES.get(command := " ".join(given[:2]), {})
    for flag in (word.partition("=")[0] for word in given):
        if flag in old:
            raise SettingError(f"fedtailor {command}: {new_name(command, flag)}")


def _foreseen(error: Exception) -> str | None:
    """Return a paragraph on what failed outside of fedtailor: a class of the user's, or the system; None for anything else."""
    from ..causes import UNKNOWN, cause_of

    if (own := sys.modules.get("fedtailor.job.own_classes")) is not None and (text := own.blame(error)) is not None:
        return str(text)
    if not isinstance(error, OSError | MemoryError | RuntimeError):
        return None
    cause = cause_of(error, "this command was stopped")
    return None if cause.name == UNKNOWN else str(cause)
