"""Systems in one table and two plots."""

import math

import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from fedtailor.report.plots.arms_plot import _write, plot_against_bytes, plot_crossover
from fedtailor.report.several.arms import crossing_lines, show_arms, with_lost
from fedtailor.report.several.crossover import find_crossover

SETTINGS = ["tuning.rank", "protocol.public_limit"]


def row(arm, rank, public, accuracy, sent, *, run="federated", **more):
    return {
        "run": run, "arm": arm, "tuning.rank": rank, "protocol.public_limit": public, "n": 2, "of": 3, "accuracy": accuracy,
        "accuracy_sd": 0.01, "learning_up_bytes": sent / 2, "learning_down_bytes": sent / 2, "flops": 2e12, "client_memory_bytes": 5e7, "peak_bytes": 9e8,
        "seconds": 70.0, "public_examples": public, **more,
    }  # fmt: skip


@pytest.fixture
def means():
    # logits: 1,000 + 40 bytes a public example both ways; LoRA: 10,000 and 50,000
    return pd.DataFrame(
        [
            row("avg", 4, math.nan, 0.9, 10_000),
            row("avg", 16, math.nan, 0.92, 50_000),
            row("kd", 8, 100, 0.7, 5_000, accuracy_aligned_public=0.75, accuracy_aligned_public_sd=0.02),
            row("kd", 8, 300, 0.8, 13_000),
            row("all", 8, math.nan, 0.95, 14, run="central"),
        ]
    )


def crossing(means):
    return find_crossover(means, of="kd", along="public_examples", under="avg", by="tuning.rank")


def test_where_logits_cost_as_much_as_weights(means):
    found = crossing(means)
    assert found.per_item == pytest.approx(40)
    assert found.base == pytest.approx(1_000)
    # (10,000 - 1,000) / 40 and (50,000 - 1,000) / 40
    assert found.crossings == {"rank 4": pytest.approx(225), "rank 16": pytest.approx(1225)}
    assert crossing(means[means["protocol.public_limit"] != 300]) is None
    assert crossing(means[means["arm"] != "avg"]) is None
    assert crossing(means.drop(columns="public_examples")) is None
    assert crossing(means.assign(n=0)) is None


def test_the_table_has_a_row_for_each_cell(means):
    table = pd.DataFrame({"status": ["done", "failed"], "cell": ["a", "b"], "error": ["", "no memory"]})
    console = Console(width=200)
    with console.capture() as captured:
        console.print(show_arms(table, means, settings=SETTINGS, metric="accuracy", folder="runs/x", crossover=crossing(means)))
    text = captured.get()
    lines = {line.split()[0]: line for line in text.splitlines() if "±" in line}
    assert "0.800 ± 0.010" in lines["kd"]
    assert "2 of 3" in lines["kd"]
    assert "13.0 kB" not in lines["kd"]
    assert lines["kd"].count("6.5 kB") == 2
    assert "2.0 TFLOP" in lines["kd"]
    assert "50.0 MB" in lines["kd"]
    assert lines["all"].count("–") == 3  # nobody sends where nobody federates, and there are no clients' own models
    assert "0.750 ± 0.020" in text
    assert "kd sends more than avg rank 4 from 225 public examples on" in text
    assert "no memory" in text


def test_logits_that_cost_more_than_weights_from_the_first_text_on(means):
    # 10 MB at 100 texts and 20 MB at 300: 50 kB a text on top of 5 MB, which texts of unequal length can give; 10 kB are below that
    dear = means.assign(learning_up_bytes=[5e3, 25e3, 5e6, 10e6, 0.0])
    dear["learning_down_bytes"] = dear["learning_up_bytes"]
    lines = [str(line) for line in crossing_lines(crossing(dear))]
    assert lines[0] == "kd sends more than avg rank 4 from 1 public example on"
    assert lines[-1] == "by 50,000 bytes a public example, fitted to 2 sizes"


def test_what_is_lost_is_against_the_base_of_the_same_arm():
    means = pd.DataFrame(
        {
            "arm": ["a", "a", "b", "b", "c"], "clients.count": [10, 50, 10, 50, 50], "partition": ["iid"] * 5,
            "bleu": [60.0, 55.0, 50.0, 51.0, 9.0], "loss": [1.0, 1.5, 2.0, 1.0, 1.0],
        }
    )  # fmt: skip
    base = {"clients.count": 10, "partition": "iid"}
    lost = with_lost(means, metric="bleu", base=base)["bleu_lost"]
    assert lost[:4].tolist() == [0.0, 5.0, 0.0, -1.0]
    assert math.isnan(lost[4])  # its base has not been run
    assert with_lost(means, metric="loss", base=base)["loss_lost"][:4].tolist() == [0.0, 0.5, 0.0, -1.0]  # less is better
    assert "bleu_lost" not in with_lost(means, metric="bleu", base={})
    own = means.rename(columns={"bleu": "exact"})  # a metric of the user's own, of which more is better
    assert with_lost(own, metric="exact", base=base, own={"exact": True})["exact_lost"][:2].tolist() == [0.0, 5.0]


def test_both_plots_are_drawn(means, tmp_path):
    files = plot_against_bytes(means, settings=SETTINGS, metric="accuracy", folder=tmp_path)
    assert [file.name for file in files] == ["accuracy-bytes.png", "accuracy-bytes.svg"]
    drawn = files[1].read_text()
    for words in ("rank 16", "public 300", ">kd<", ">all<"):
        assert words in drawn
    assert "rank 8" not in drawn  # all cells of kd have it
    assert plot_against_bytes(means, settings=SETTINGS, metric="bleu", folder=tmp_path) == []
    drawn = plot_crossover(crossing(means), tmp_path)[1].read_text()
    assert ">225<" in drawn
    assert "avg, rank 16" in drawn


def test_points_that_lie_close_share_a_label(tmp_path):
    cells = [row("cut", 4, public, 0.5 + public / 1e5, 10**6 + public) for public in (1, 2, 3)]
    cells += [row("cut", 4, 4, 0.7, 10**6), row("cut", 4, 5, 0.7, 10**7)]  # far above; far to the right
    drawn = plot_against_bytes(pd.DataFrame(cells), settings=SETTINGS, metric="accuracy", folder=tmp_path)[1].read_text()
    labels = [words for words in ("public 1 … 3", "public 2", "public 4", "public 5") if f">{words}<" in drawn]
    assert labels == ["public 1 … 3", "public 4", "public 5"]


def test_labels_cover_neither_each_other_nor_points_and_stay_within_the_picture():
    axes = Figure(figsize=(7, 4.5), layout="constrained").add_subplot()
    axes.set_xscale("log")
    axes.plot([1, 100], [0, 1])
    labels = [(10, 0.5, "rank 4"), (10.5, 0.5, "cut 8"), (11, 0.5, "cut 15"), (90, 0.5, "cut 30 of 30"), (1, 0.5, "cut 1")]
    points = [(1, 0.5), (1.2, 0.53)]
    _write(axes, labels, points)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    assert not any(box.contains(*axes.transData.transform(point)) for box in boxes for point in points)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    assert [text.xyann for text in axes.texts] == [(4, 4), (-4, 4), (4, 14), (-4, 4), (4, 14)]


def test_what_sends_nothing_is_a_line_across(tmp_path):
    cells = [row("cut", 4, 1, 0.5, 10**7), row("still", 4, 2, 0.6, 0)]
    drawn = plot_against_bytes(pd.DataFrame(cells), settings=SETTINGS, metric="accuracy", folder=tmp_path)[1].read_text()
    assert ">still<" in drawn


@pytest.mark.parametrize(("most", "ticks"), [(10**9, [">1,000<", ">200<"]), (10**11, [">1,000<", ">100,000<"])])
def test_figures_of_an_axis_of_bytes_stay_apart(tmp_path, most, ticks):
    cells = [row("cut", 4, 1, 0.5, 10**7), row("cut", 4, 2, 0.5, most)]
    drawn = plot_against_bytes(pd.DataFrame(cells), settings=SETTINGS, metric="accuracy", folder=tmp_path)[1].read_text()
    assert all(tick in drawn for tick in ticks)
    assert (">200<" in drawn) == (most == 10**9)
