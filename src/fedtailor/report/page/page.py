"""The page of one run, made of its folder alone."""

import importlib.util
from importlib.resources import files
from pathlib import Path

from ...diagnoses import diagnose
from ...errors import SettingError
from ...printable import printable
from ...run_files import WHAT, read_json_file, shared_part
from ...storage import write_text
from ...text_files import read_text
from ..read import Run
from ..run.pictures import sheets
from ..run.samples import sample_tables
from ..run.tables import headline, tables, trouble
from ..several.comparison import setting_text
from .charts import CHARTS
from .leaving import leaving
from .markup import html_of, png_data, table_html
from .tiles import tiles

FILE = "report.html"  # in the run folder
NEEDED = ("jinja2", "matplotlib")
SAMPLES = 6


def check_page() -> None:
    """Raise SettingError, saying what to install, if there is nothing to make a page with."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingError(f"the page needs {' and '.join(missing)}, not installed here: pip install 'fedtailor[page]'")


def write_page(run: Run, file: Path | None = None) -> Path:
    """Write the page of a run, report.html in its folder unless another file is named, and return where it is.

    Raises:
        SettingError: if what draws it is not installed.
        StorageError: if it cannot be written.
    """
    check_page()
    place = file or run.folder / FILE
    page = page_of(run)
    write_text(place, page)
    return place


def page_of(run: Run) -> str:
    """Return the page of a run as HTML; the same folder gives the same text."""
    return _render("page.html.j2", run)


def main_of(run: Run) -> str:
    """Return what stands in the page of a run, without head and style."""
    return _render("main.html.j2", run)


def live_page_of(run: Run, nonce: str) -> str:
    """Return a page of a run that renews itself; its one script has this nonce."""
    return _render("live.html.j2", run, nonce=nonce)


def _render(template: str, run: Run, **more: str) -> str:
    from markupsafe import Markup

    name, what = headline(run).split("\n")
    return render(
        template,
        name=name.plain,
        what=what.plain,
        tiles=tiles(run),
        diagnosis=diagnose([run]),
        trouble=[line.plain for line in trouble(run)],
        shared=shared_part(run.summary, run.trained),
        charts=[(chart, Markup(chart.svg)) for chart in (make(run) for make in CHARTS) if chart is not None],
        tables={title: Markup(html_of(part, title)) for title, part in tables(run)},
        samples=[Markup(table_html(table, "one input and what was written for it")) for table in sample_tables(run, SAMPLES)],
        sheets={title: png_data(path) for title, path in sheets(run).items()},
        leaving=leaving(run),
        changed=_changed(run),
        files=_files(run),
        **more,
    )


def render(template: str, **values: object) -> str:
    """Return a template of this folder with some values in it; texts are escaped, but for markup of ours."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        loader=FunctionLoader(_file),
    )
    return environment.get_template(template).render(style=Markup(_file("page.css")), **values)


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """Return a value as it stands in the page: HTML of ours as it is, signs of other texts that a terminal would obey written out."""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else printable(value)


def _changed(run: Run) -> list[tuple[str, str]]:
    """Return the settings that differ from the defaults, with their values; none of runs of older versions."""
    file = run.folder / "environment.json"
    environment = read_json_file(file) if file.is_file() else {}
    changed = environment.get("changed") if isinstance(environment, dict) else None
    return [(str(name), setting_text(value)) for name, value in changed.items()] if isinstance(changed, dict) else []


def _files(run: Run) -> dict[str, str]:
    """Return the texts that say how the run can be made again."""
    found = {}
    for name in ("job.yaml", "environment.json"):
        file = run.folder / name
        if file.is_file():
            found[name] = read_text(file, WHAT)
    return found
