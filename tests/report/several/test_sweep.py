"""The table and the plot of a sweep."""

import importlib.util
import math

import pandas as pd
import pytest
from rich.console import Console

from fedtailor.errors import SettingError
from fedtailor.report.plots.plot import check_plots, plot_sweep
from fedtailor.report.several.sweep import show_sweep, spent_together, title_of


@pytest.fixture
def means():
    rows = [("federated", rank, kind, 3, 3, 2.0 + rank / 10, 0.25) for rank in (2, 4, 32) for kind in ("a", "b")]
    table = pd.DataFrame(rows, columns=["run", "tuning.rank", "task.template", "n", "of", "loss", "loss_sd"])
    return table.assign(up_bytes=1000.0, seconds=2.0)


def text_of(printed):
    console = Console(width=160, record=True)
    with console.capture() as captured:
        console.print(printed)
    return captured.get()


def test_the_table_states_n_and_names_failed_cells(means):
    means.loc[5, ["n", "loss", "loss_sd"]] = [1, 5.2, math.nan]
    table = pd.DataFrame({"cell": ["x", "y"], "status": ["done", "failed"], "error": ["", "no memory left"]})
    shown = text_of(show_sweep(table, means, settings=["tuning.rank", "task.template"], metric="loss", folder="runs/s"))
    assert "2.200 ± 0.250" in shown
    assert "1 of 3" in shown
    assert "1 cell of 2 failed" in shown
    assert "y  no memory left" in shown
    assert "runs/s" in shown


def test_a_table_states_how_steady_runs_were_and_who_reached_a_target(means):
    known = means.assign(
        rises=0.5, largest_rise=0.25, last_over_best=0.125, target_rounds=2.0, target_bytes=1e6, target_seconds=9.0
    )
    table = pd.DataFrame({"cell": ["x"], "status": ["done"], "error": [""]})
    shown = " ".join(
        text_of(
            show_sweep(table, known.assign(target_reached=1 / 3), settings=["tuning.rank"], metric="loss", folder="s")
        ).split()
    )
    assert "± 0.250 0.500 0.250 0.125 2 (1 of 3) 1.0 MB (1 of 3) 9.0 s (1 of 3)" in shown
    assert "how steady" not in text_of(show_sweep(table, means, settings=["tuning.rank"], metric="loss", folder="s"))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("perplexity_word", "per word"),
        ("loss_client_worst", "loss, worst client"),
        ("bleu_before", "BLEU before"),
        ("loss_personal_worst", "loss, personal, worst client"),
        ("perplexity_personal_public", "perplexity, personal, on the test set"),
        ("accuracy_local", "accuracy, each alone"),
        ("up_bytes", "up bytes"),
    ],
)
def test_titles(name, title):
    assert title_of(name) == title


def test_the_plot_has_a_line_for_each_other_setting_and_is_the_same_each_time(means, tmp_path):
    files = plot_sweep(means, along="tuning.rank", others=["run", "task.template"], metric="loss", folder=tmp_path)
    assert [file.name for file in files] == ["sweep.png", "sweep.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    drawn = files[1].read_text()
    for words in ("tuning.rank", "loss", "n = 3", "federated, task.template a", "federated, task.template b"):
        assert words in drawn
    plot_sweep(means, along="tuning.rank", others=["run", "task.template"], metric="loss", folder=tmp_path)
    assert files[1].read_text() == drawn


def test_texts_stand_side_by_side_and_what_is_not_there_is_not_drawn(means, tmp_path):
    assert plot_sweep(means, along="task.template", others=["run", "tuning.rank"], metric="loss", folder=tmp_path)
    assert plot_sweep(means, along="tuning.rank", others=["run"], metric="bleu", folder=tmp_path) == []


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"fedtailor\[plots\]"):
        check_plots()


def test_nothing_is_drawn_between_categories_and_what_does_not_depend_on_them_goes_across(tmp_path, monkeypatch):
    import pandas as pd
    from matplotlib.figure import Figure

    from fedtailor.report.plots.plot import plot_sweep

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **settings: drawn.append(figure))
    rows = [{"run": "federated", "along": value, "loss": 1.0 + place, "n": 1} for place, value in enumerate(["b", "a, c"])]
    rows.append({"run": "central", "along": None, "loss": 0.5, "n": 1})
    plot_sweep(pd.DataFrame(rows), along="along", others=["run"], metric="loss", folder=tmp_path)
    (axes,) = drawn[0].axes
    points, across = (
        [line for line in axes.lines if line.get_marker() == "o"],
        [line for line in axes.lines if line.get_linestyle() == "--"],
    )
    assert [line.get_linestyle() for line in points] == ["None"]
    assert [list(line.get_ydata()) for line in across] == [[0.5, 0.5]]
    numbers = [{"run": "federated", "along": value, "loss": 5.73 + value / 1e6, "n": 1} for value in (8, 2)]
    plot_sweep(pd.DataFrame(numbers), along="along", others=["run"], metric="loss", folder=tmp_path)
    (line,) = [line for line in drawn[-1].axes[0].lines if line.get_marker() == "o"]
    assert (line.get_linestyle(), list(line.get_xdata())) == ("-", [2.0, 8.0])
    drawn[-1].canvas.draw()
    ticks = drawn[-1].axes[0].yaxis
    assert ticks.get_offset_text().get_text() == ""
    assert all(label.get_text().startswith("5.7300") for label in ticks.get_ticklabels())


def test_epsilons_and_deltas_of_all_cells_add_up():
    table = pd.DataFrame({"cell": ["a", "b", "c"], "epsilon": [2.0, 3.5, None], "delta": [1e-5, 1e-5, None]})
    _, text = spent_together(table)
    assert text.plain == "privacy: 2 runs on the same data spent at most epsilon 5.5 at delta 2e-05 together"
    assert spent_together(pd.DataFrame({"cell": ["a"]})) == []
    assert spent_together(pd.DataFrame({"cell": ["a"], "epsilon": [None], "delta": [None]})) == []
