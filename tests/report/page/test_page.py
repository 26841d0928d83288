"""A run as a page: what it says, that it stands alone, and that nothing in a run's texts is obeyed."""

import importlib.util
import json
import re
from collections import Counter
from html.parser import HTMLParser

import pandas as pd
import pytest

from fedtailor.cli.main import main
from fedtailor.cli.run import show_end
from fedtailor.errors import DataError
from fedtailor.report import read_run
from fedtailor.report.page import page_of, write_page
from fedtailor.storage import StorageError

VOID = {"meta", "br"}
EVIL = "<script>alert('a')</script> $x$ \x1b[2J\u202e"


class Page(HTMLParser):
    """Collects the elements of a page; what is not closed in order is a fault."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.attributes = [], Counter(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, name):
        return [value for key, value in self.attributes if key == name]


@pytest.fixture
def folder(write_run):
    """Return the folder of a made run of two clients and two rounds, one of them with a name that does harm."""
    made = write_run(
        "tiny",
        best_round=2,
        traffic={
            "up_bytes": 3_700_000,
            "down_bytes": 1_000_000,
            "by_kind": {"train": {"up_bytes": 3_700_000, "down_bytes": 1_000_000}},
        },
    )
    clients = [
        {"round": r, "client": c, "last_loss": 2.0 / r, "cosine": 0.5 / r, "validation_before": before, "validation_after": after}
        for r, c, before, after in [(1, "a", 3.0, 2.0), (1, EVIL, 4.0, 3.0), (2, "a", 2.5, 2.0), (2, EVIL, 3.5, 3.0)]
    ]
    pd.DataFrame(clients).to_parquet(made / "clients.parquet")
    losses = [(0, "a", 3.0), (1, "a", 2.5), (2, "a", 2.0), (0, EVIL, 3.5), (1, EVIL, 3.0), (2, EVIL, 3.75)]
    rows = [
        {"round": r, "scope": s, "client": c, "metric": "loss", "value": v}
        for r, c, v in losses
        for s in ("client", "client-validation")
    ]
    pd.DataFrame(rows).to_parquet(made / "evaluations.parquet")
    pd.DataFrame([{"example": str(i), "client": "a" if i else EVIL, "part": "train"} for i in range(4)]).to_parquet(
        made / "partition.parquet"
    )
    tensors = {"w": {"dtype": "float32", "shape": [2, 3]}, "v": {"dtype": "float32", "shape": ["rows", 4]}}
    facts = {"examples": {"purpose": "its weight", "reveals": "examples"}}
    (made / "manifest.json").write_text(json.dumps({"up": {"train": {"tensors": tensors, "facts": facts}}, "sizes": {"rows": 5}}))
    return made


def ended(main, words):
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


def test_the_page_stands_alone_and_obeys_no_text(folder):
    (folder / "generations" / "after.jsonl").write_text(json.dumps({"text": EVIL}) + "\n")
    text = page_of(read_run(folder))
    page = Page(text)
    assert page.found["script"] == 0
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    links = [value for name in ("src", "href", "xlink:href", "action") for value in page.all(name)]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in links)
    assert "url(http" not in text
    assert [name for name, count in Counter(page.all("id")).items() if count > 1] == []
    assert {link[1:] for link in links if link.startswith("#")} <= set(page.all("id"))


def test_the_page_says_what_tensors_reveal(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    assert ">reveal: " not in page_of(read_run(folder))  # of a version that did not say
    manifest["up"]["train"]["tensors"]["w"]["reveals"] = "labels"
    path.write_text(json.dumps(manifest))
    assert '<span class="warning">reveal: labels</span>' in page_of(read_run(folder))


def test_the_same_run_gives_the_same_page(folder):
    assert page_of(read_run(folder)) == page_of(read_run(folder))


def test_each_chart_says_in_words_what_it_shows(folder):
    labels = [label for label in Page(page_of(read_run(folder))).all("aria-label") if ". " in label]
    told = {label.split(" (n")[0].split(",")[0].split(":")[0]: label for label in labels}
    assert (
        "from 3.250 before the first round to 2.875 after round 2; worst client <script>"
        in told["loss on the clients' own validation parts"]
    )
    assert "1 of 2 clients did not get worse; worse off: <script>" in told["For whom"]
    gained = next(label for label in labels if label.startswith("What local training gains"))
    assert "lowered the validation loss by 0.750 a round on average; averaging took back 67 % of it" in gained
    assert "In the last round: cosine to the mean update 0.2" in next(label for label in labels if label.startswith("How alike"))
    assert "From 1 to 3 training examples a client" in told["Who has how much"]
    assert "train 4.7 MB" in told["What was sent"]
    assert "0 of 4 cells" in told["Training loss at the end of each client's round"]
    assert "training 4 min 10 s" in told["Where the time went"]


def test_settings_that_differ_from_the_defaults_are_listed(folder):
    assert "Settings that differ" not in page_of(read_run(folder))
    (folder / "environment.json").write_text(json.dumps({"changed": {"tuning.rank": 16.0, "stop.patience": None, "a": [EVIL]}}))
    text = page_of(read_run(folder))
    assert '<tr><th scope="row">tuning.rank</th><td>16</td></tr>' in text
    assert '<tr><th scope="row">stop.patience</th><td>null</td></tr>' in text
    assert "<td>[&lt;script&gt;" in text


def test_groups_and_bytes_have_charts_where_they_are_known(folder):
    rows = [("a", "x"), ("a", "x"), ("a", "x"), ("a", "y"), ("b", "y"), ("b", "")]
    pd.DataFrame([{"example": str(i), "client": c, "part": "train", "group": g} for i, (c, g) in enumerate(rows)]).to_parquet(
        folder / "partition.parquet"
    )
    rounds = [{"round": r, "validation_loss": loss, "up_bytes": 500, "down_bytes": 500} for r, loss in ((1, 2.5), (2, 2.0))]
    pd.DataFrame(rounds).to_parquet(folder / "rounds.parquet")
    summary = json.loads((folder / "summary.json").read_text())
    kept = {"data": {"divergence": 0.5, "divergence_over": "label"}, "validation_loss": {"before": 3.0}}
    (folder / "summary.json").write_text(json.dumps(summary | kept))
    labels = {label.split(" (n")[0].split(".")[0]: label for label in Page(page_of(read_run(folder))).all("aria-label")}
    assert "2 groups; the largest share is 100 % of b for y." in labels["Who owns what, by label"]
    assert (
        "2.0 kB bought a fall of the loss by 1.000; the first half of them bought 50 % of it."
        in labels["Validation loss against bytes"]
    )


def test_what_left_each_client_is_counted_and_what_it_reveals_is_said(folder):
    text = page_of(read_run(folder))
    assert "2 float32 (26 values)" in text
    assert "reveals: examples" in text
    assert "no differential privacy was asked for" in text


def test_a_baseline_has_no_traffic_and_no_charts_of_clients(write_run):
    folder = write_run("central", baseline="central", clients={}, traffic={})
    for name in ("clients", "evaluations"):
        (folder / f"{name}.parquet").unlink()
    text = page_of(read_run(folder))
    assert 'id="bytes"' not in text
    assert "privacy spent" not in text
    assert "perplexity, test set" in text


def test_many_clients_and_rounds_are_drawn_as_bands(write_run):
    folder = write_run("many")
    rows = [(r, f"c{c}") for r in range(1, 101) for c in range(40)]
    pd.DataFrame([{"round": r, "client": c, "last_loss": 1 / r, "cosine": 0.5} for r, c in rows]).to_parquet(
        folder / "clients.parquet"
    )
    pd.DataFrame(
        [
            {"round": r, "scope": s, "client": c, "metric": "loss", "value": 1 / r}
            for r, c in rows
            for s in ("client", "client-validation")
        ]
    ).to_parquet(folder / "evaluations.parquet")
    text = page_of(read_run(folder))
    assert len(text) < 400_000
    assert "30 of 40 drawn" in text
    assert "the 15 that gained least and most of 40" in text


def test_the_command_writes_it_into_the_run_or_where_it_is_asked_to(folder, tmp_path, capsys):
    assert ended(main, ["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert ended(main, ["report", str(folder), "--out", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").read_bytes() == (folder / "report.html").read_bytes()
    assert re.search(r"<h1>tiny</h1>", (tmp_path / "r.html").read_text())


def test_a_run_that_ends_says_where_its_page_is_and_does_without_it_if_it_must(folder, monkeypatch, capsys):
    show_end(folder, samples=0)
    assert f"report  {folder / 'report.html'}" in capsys.readouterr().out
    assert (folder / "report.html").read_text() == page_of(read_run(folder))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    show_end(folder, samples=0)
    shown = capsys.readouterr()
    assert "report  " not in shown.out
    assert "pip install 'fedtailor[page]'" in shown.err


def test_a_place_that_cannot_be_written_and_a_damaged_table_are_named(folder, tmp_path):
    with pytest.raises(StorageError, match="nowhere"):
        write_page(read_run(folder), tmp_path / "nowhere" / "r.html")
    (folder / "clients.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"clients\.parquet cannot be read"):
        page_of(read_run(folder))
