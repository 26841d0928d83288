"""fedtailor cache: what is kept of private data from one start to the next."""

import typer

from .console import out

app = typer.Typer(help="Tokenized data in the user's cache: list them, or clear them.", no_args_is_help=True)


@app.command("list")
def list_entries() -> None:
    """List the tokenized parts that are kept, and where."""
    import time

    from ..learning.token_cache import SUFFIX, token_folder
    from ..units import bytes_text, seconds_text

    files = sorted(token_folder().glob(f"*{SUFFIX}"))
    for file in files:
        state = file.stat()
        used = f"used {seconds_text(max(0.0, time.time() - state.st_mtime))} ago"
        out().print(f"  {file.stem[:16]}  {bytes_text(state.st_size)}  {used}", highlight=False)
    total = bytes_text(sum(file.stat().st_size for file in files))
    out().print(f"  {len(files)} tokenized parts, {total}, in {token_folder()}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def clear() -> None:
    """Remove all tokenized parts."""
    from ..learning.token_cache import token_folder

    files = [path for path in token_folder().glob("*") if path.is_file()] if token_folder().is_dir() else []
    for file in files:
        file.unlink(missing_ok=True)
    out().print(f"  removed {len(files)} tokenized parts from {token_folder()}", soft_wrap=True, highlight=False, markup=False)
