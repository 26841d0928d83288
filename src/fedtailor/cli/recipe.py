"""fedtailor recipe: jobs of published experiments."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arms import run_arms
from .console import out, print_json
from .run import Baseline, Overrides, carry_out, show_end

if TYPE_CHECKING:
    from ..studies.recipes import Recipe


class Variant(StrEnum):
    """The paper's size, one for two cores, or one that tries a recipe out."""

    paper = "paper"
    small = "small"
    tiny = "tiny"


app = typer.Typer(help="Jobs of published experiments: list them, show whose each setting is, run one.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="One of fedtailor recipe list.", metavar="NAME")]
DataFolder = Annotated[Path, typer.Option("--data", help="The folder that holds e2e/train.parquet and so on.", metavar="FOLDER")]
OfVariant = Annotated[
    Variant,
    typer.Option(
        "--variant", help="paper: the paper's size; small: sized for two cores; tiny: minutes, to try out a recipe that has it."
    ),
]


@app.command(name="list")
def list_all() -> None:
    """List the recipes."""
    from ..report.several.recipe import list_recipes
    from ..studies.recipes import load_recipe, recipe_names

    recipes = [load_recipe(name) for name in recipe_names()]
    out().print(list_recipes([(recipe.name, recipe.title, recipe.status) for recipe in recipes]))


@app.command()
def show(
    name: Name,
    settings: Overrides = None,
    variant: OfVariant = Variant.paper,
    data: Annotated[Path, typer.Option("--data", help="With --yaml: the folder of the data.", metavar="FOLDER")] = Path(),
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the whole job alone, for fedtailor run, check and sweep.")
    ] = False,
) -> None:
    """Show what a paper reports, and which settings are the paper's and which are assumed."""
    from ..studies.recipes import load_recipe

    recipe = load_recipe(name)
    if as_yaml:
        sys.stdout.write(recipe.make_job(variant.value, data, settings or []).to_yaml())
        return
    _check(recipe, variant, data, settings or [])
    _print(recipe, variant, settings or [])


@app.command()
def run(  # noqa: PLR0917 - Typer passes all by name
    name: Name,
    data: DataFolder,
    settings: Overrides = None,
    variant: OfVariant = Variant.small,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="The run folder; left out: runs/NAME-TIME, of a comparison runs/NAME-VARIANT.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Of a comparison: run the cells of these names alone, such as '*seed=0'; may be given more than once."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json alone, or the tables of a comparison.")] = False,
) -> None:
    """Run a recipe, after printing which settings are the paper's and which are assumed.

    One that compares systems runs all its cells, and makes one table and the plots; the same command again continues with what is missing.
    seed=0,1,2 gives it other seeds than its own.
    """
    from ..errors import SettingError
    from ..studies.recipes import load_recipe

    recipe = load_recipe(name)
    if recipe.arms:
        _check(recipe, variant, data, settings or [])
        if not as_json:
            _print(recipe, variant, settings or [])
        recipe.prepare(variant.value, data, settings or [])
        run_arms(recipe, variant.value, data, settings or [], only=only or [], out_folder=out_folder, as_json=as_json)
        return
    if only:
        raise SettingError(f"--only chooses among the cells of a comparison, and {name} is one run; leave it out.")
    job = recipe.make_job(variant.value, data, settings or [])
    if not as_json:
        _print(recipe, variant, settings or [])
    baseline = Baseline(recipe.baseline) if recipe.baseline else None
    result = carry_out(job, out_folder=out_folder, baseline=baseline, quiet=as_json)
    if as_json:
        print_json(result.summary)
        return
    show_end(result.folder, samples=2)


def _check(recipe: "Recipe", variant: Variant, data: Path, settings: Sequence[str]) -> None:
    """Raise SettingError if a recipe with these settings is no job that can run, before anything is printed of it."""
    from ..studies.arms import make_arms

    if recipe.arms:
        make_arms(recipe, variant.value, data, settings)
    else:
        recipe.make_job(variant.value, data, settings)


def _print(recipe: "Recipe", variant: Variant, settings: Sequence[str]) -> None:
    from ..report.several.recipe import show_recipe
    from ..studies.arms import with_seeds

    asked = settings
    if recipe.arms:
        recipe, settings = with_seeds(recipe, settings)
    shown = show_recipe(
        name=recipe.name,
        variant=variant.value,
        title=recipe.title,
        paper=recipe.paper,
        status=recipe.status,
        baseline=recipe.baseline,
        reports=recipe.reports,
        cautions=recipe.cautions,
        lines=[*recipe.lines(variant.value, settings), *recipe.arm_lines(variant.value, settings)],
        sweeps=recipe.sweeps,
        arms={arm: (each.about, each.grids(variant.value)) for arm, each in recipe.arms.items()},
        seeds=recipe.seeds_of(variant.value),
        size=recipe.size if variant is Variant.small and not asked else "",
    )
    out().print(shown)
