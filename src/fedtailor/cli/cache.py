"""fedtailor cache: what is kept of private data from one start to the next."""

from typing import TYPE_CHECKING

import typer

from .console import out

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(
    help="Tokenized data and what check found, in the user's cache: list them, or clear them.", no_args_is_help=True
)


@app.command("list")
def list_entries() -> None:
    """List the tokenized parts and the findings of check that are kept, and where."""
    import time

    from ..units import bytes_text, seconds_text

    for what, folder in _folders().items():
        files = _entries(folder)
        for file in files:
            state = file.stat()
            used = f"used {seconds_text(max(0.0, time.time() - state.st_mtime))} ago"
            out().print(f"  {file.stem[:16]}  {bytes_text(state.st_size)}  {used}", highlight=False)
        total = bytes_text(sum(file.stat().st_size for file in files))
        out().print(f"  {len(files)} {what}, {total}, in {folder}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def clear() -> None:
    """Remove all of them."""
    for what, folder in _folders().items():
        files = _entries(folder)
        for file in files:
            file.unlink(missing_ok=True)
        out().print(f"  removed {len(files)} {what} from {folder}", soft_wrap=True, highlight=False, markup=False)


def _folders() -> "dict[str, Path]":
    from ..user_cache import count_folder, plan_folder, token_folder

    return {"tokenized parts": token_folder(), "findings of check": plan_folder(), "counts of steps": count_folder()}


def _entries(folder: "Path") -> "list[Path]":
    return sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
