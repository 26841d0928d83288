import json
import shutil

import pandas as pd
import pytest
from rich.console import Console

from fedtailor.errors import DataError, SettingError
from fedtailor.metrics.course import read_target
from fedtailor.report import compare, read_run, show
from fedtailor.report.several.comparison import differences
from fedtailor.yaml_text import write_yaml


def line(text: str, start: str) -> str:
    """Return the line that begins with `start`, its spaces made single."""
    return next(" ".join(row.split()) for row in text.splitlines() if row.strip().startswith(start))


def test_show(write_run, printed):
    text = printed(show(read_run(write_run("one"))))
    assert "tiny · lora r 8 · 2 rounds, stopped early" in text
    assert line(text, "loss") == "loss 3.00 → 1.50 −50 % 3.10 → 1.60 3.50 → 2.25 3.40 → 2.10"
    assert line(text, "BLEU") == "BLEU 5.00 → 40.0 × 8.0 – – –"
    # of the round that was kept, 1, not of the last one; bytes 2 rounds × 1850; seconds 2 × 61
    assert line(text, "a ") == "a 30 8 3.00 → 1.25 3.7 kB 2 min 02 s"
    assert line(text, "1 ● kept") == "1 ● kept 2.500 1.250 3.7 kB 500 B 2 min 02 s"
    assert line(text, "sent by clients") == "sent by clients 7.4 MB (7,400,000 bytes)"
    assert line(text, "time ") == "time 5 min 12 s (training 4 min 10 s, measuring 1 min 00 s, exchange 0.5 s)"
    assert "b lost: Timeout" in text
    assert text.index("new") < text.index("same")  # what changed comes first


def test_what_was_sent_of_the_backbone_is_a_line_of_its_own(write_run, printed):
    folder = write_run("one")
    assert "besides" not in printed(show(read_run(folder)))
    rows = [{"site": "north", "down_bytes": 200_000_000}, {"site": "south", "down_bytes": 69_000_000}]
    (folder / "network.json").write_text(json.dumps({"backbone_sent": rows}))
    text = printed(show(read_run(folder)))
    assert line(text, "backbone") == "backbone 269 MB sent once by the server to north, south, besides"
    for damaged in ("{", "[1]"):
        (folder / "network.json").write_text(damaged)
        with pytest.raises(DataError, match=r"network\.json cannot be read"):
            printed(show(read_run(folder)))


def test_the_headline_names_aggregation_and_personalization_unless_they_are_the_usual_ones(write_run, printed):
    folder = write_run("one")
    for rule, own, told in (
        ("fedavg", "none", "lora · averaging · 2 rounds"),
        ("flora", "none", "lora · averaging · flora · 2 rounds"),
        ("fedavg", "fedalt", "lora · averaging · fedalt · 2 rounds"),
        ("fedadam", "ditto", "lora · averaging · fedadam · ditto · 2 rounds"),
    ):
        protocol = {"kind": "averaging", "aggregation": {"kind": rule}}
        job = {"backbone": "tiny", "tuning": {"kind": "lora"}, "protocol": protocol, "personalization": {"kind": own}}
        (folder / "job.yaml").write_text(write_yaml(job))
        assert told in printed(show(read_run(folder)))


def test_last_round_is_marked_where_the_last_is_kept(write_run, printed):
    assert line(printed(show(read_run(write_run("one", kept="last")))), "2 ● kept")


def test_samples_of_clients_where_there_is_no_public_test(write_run, printed):
    folder = write_run("one")
    for client in "ab":
        home = folder / "clients" / client
        home.mkdir(parents=True)
        for moment in ("before", "after"):
            row = {"input": f"of {client}", "references": ["r"], "text": moment * 2}
            (home / f"generations-{moment}.jsonl").write_text(json.dumps(row) + "\n")
    shutil.rmtree(folder / "generations")
    samples = read_run(folder).samples(5)
    assert [(s["client"], s["before"], s["after"]) for s in samples] == [
        ("a", "beforebefore", "afterafter"),
        ("b", "beforebefore", "afterafter"),
    ]
    assert "input (a)" in printed(show(read_run(folder)))


def test_a_bare_summary_is_enough(write_run, printed):
    folder = write_run("one")
    for name in ("job.yaml", "events.jsonl", "rounds.parquet", "clients.parquet", "evaluations.parquet"):
        (folder / name).unlink()
    shutil.rmtree(folder / "generations")
    assert "3.00 → 1.50" in printed(show(read_run(folder)))


def test_markup_in_texts_is_shown_as_it_is(write_run, printed):
    folder = write_run("one")
    row = {"input": "x[red]", "references": ["[/b]"], "text": "[bold"}
    for moment in ("before", "after"):
        (folder / "generations" / f"{moment}.jsonl").write_text(json.dumps(row) + "\n")
    text = printed(show(read_run(folder)))
    assert "x[red]" in text
    assert "[/b]" in text


def test_compare(write_run, printed):
    text = printed(compare([read_run(write_run("one")), read_run(write_run("two", loss=1.25, rank=16))]))
    assert line(text, "loss") == "loss 1.500 1.250"
    assert line(text, "worst client") == "worst client 2.250 2.250"
    assert line(text, "tuning.rank") == "tuning.rank 8 16"
    assert "base" not in text


def test_compare_has_what_was_steady_forgotten_and_needed_for_a_target(write_run, printed):
    more = {
        "stability": {"rises": 1, "largest_rise": 0.25, "risen": 0.25, "last_over_best": 0.125},
        "validation_loss": {"before": 3.0, "after": 1.25},
        "retained": {"before": {"loss": 3.0}, "after": {"loss": 3.5}, "tokens": 500},
    }
    runs = [read_run(write_run("one", **more)), read_run(write_run("two"))]
    text = printed(compare(runs, target=read_target("validation_loss=1.3")))
    assert line(text, "rises of the validation loss") == "rises of the validation loss 1, largest 0.250 –"
    assert line(text, "last above best") == "last above best 0.125 –"
    assert line(text, "on general text") == "on general text 3.500 –"
    assert line(text, "rounds to validation_loss 1.3") == "rounds to validation_loss 1.3 1 1"
    assert line(text, "bytes, both ways") == "bytes, both ways 4.2 kB 4.2 kB"
    assert line(text, "seconds of training") == "seconds of training 2 min 02 s 2 min 02 s"
    assert (
        line(printed(compare(runs, target=read_target("bleu=50"))), "rounds to bleu 50")
        == "rounds to bleu 50 not reached not reached"
    )
    with pytest.raises(SettingError, match="none of these runs measured; they have loss, perplexity, bleu, validation_loss"):
        compare(runs, target=read_target("rouge=1"))


def personal(own, **more):
    """Return the section of a run in which one client ended with weights of its own, and another kept the shared ones."""
    scopes = lambda loss: {key: {"loss": loss} for key in ("mean", "worst", "p10")}  # noqa: E731
    clients = {
        "a": {"kept": True, "base": {"loss": 3.0}, "local": {"loss": 1.75}, "global": {"loss": 2.0}, "personal": {"loss": own}},
        "b": {"kept": False, "base": {"loss": 3.0}, "global": {"loss": 2.5}, "personal": {"loss": 2.5}},
    }
    return {"base": scopes(3.0), "global": scopes(2.25), "personal": scopes(own), "kept": 1, "clients": clients} | more


def test_personal_figures_stand_side_by_side(write_run, printed):
    local = {"mean": {"loss": 1.75}, "worst": {"loss": 1.8}, "p10": {"loss": 1.79}}
    text = printed(show(read_run(write_run("one", personal=personal(1.5, local=local)))))
    assert line(text, "personal: loss") == "personal: loss base local-only global personal"
    assert line(text, "mean client") == "mean client 3.000 1.750 2.250 1.500"
    assert line(text, "worst client") == "worst client 3.000 1.800 2.250 1.500"
    rows = text[text.index("personal: loss") :]
    assert line(rows, "a ") == "a 3.000 1.750 2.000 1.500"
    assert line(rows, "b ") == "b 3.000 – 2.500 2.500 (not its own)"
    text = printed(show(read_run(write_run("two", personal=personal(1.5, public={"mean": {"loss": 4.0}})))))
    assert line(text, "personal: loss") == "personal: loss base global personal personal, on the test set"
    assert line(text, "mean client") == "mean client 3.000 2.250 1.500 4.000"
    assert line(text, "global, on the test set") == "global, on the test set 1.500"


def test_compare_has_personal_figures(write_run, printed):
    runs = [read_run(write_run(name, personal=personal(own))) for name, own in (("one", 1.5), ("two", 1.25))]
    text = printed(compare([*runs, read_run(write_run("three"))]))
    assert line(text, "personal, mean client") == "personal, mean client 1.500 1.250 –"
    assert line(text, "personal, worst client") == "personal, worst client 1.500 1.250 –"


def test_a_damaged_personal_section_is_reported(write_run):
    with pytest.raises(DataError, match="personal"):
        read_run(write_run("one", personal=[1]))


def test_differences():
    assert differences([{"a": {"b": 1}, "name": "x"}, {"a": {"b": 1, "c": None}, "name": "y"}]) == {"a.c": ["–", "null"]}


def test_faults_of_folders(tmp_path, write_run):
    write_run("one")
    with pytest.raises(
        DataError, match=r"is not the folder of a run: it has neither job.yaml nor summary.json; finished runs are in .*one"
    ):
        read_run(tmp_path)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "job.yaml").write_text("")
    with pytest.raises(DataError, match="has not ended"):
        read_run(tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / "cut")


@pytest.mark.parametrize("torn", ['{"eve', '{"event": "failure", "text": "é'])
def test_a_torn_last_line_of_events_stops_nothing(write_run, printed, torn):
    folder = write_run("one")
    with (folder / "events.jsonl").open("ab") as file:
        file.write(torn.encode()[:-1])
    assert "b lost: Timeout" in printed(show(read_run(folder)))


DAMAGE = {
    "summary.json": {
        "[]": "holds [] where a summary is expected",
        "{}": "has no metrics",
        '{"metrics": []}': "has no metrics",
        '{"metrics": {"after": {}}, "clients": {"mean": 3}}': "clients.mean is 3",
        '{"metrics": {"after"': "cannot be read",
    },
    "rounds.parquet": {"PAR1 cut": "move it away"},
    "clients.parquet": {"": "move it away"},
    "events.jsonl": {'{"event": "round"}\n{"eve\n{"event": "round"}\n': "line 2 is not JSON"},
    "generations/before.jsonl": {'{"input": "x"}\n': "line 1 has no text", "no\n": "line 1 is not JSON", "3\n": "line 1"},
    "job.yaml": {"[1]": "holds no settings"},
}


@pytest.mark.parametrize(("file", "text"), [(file, text) for file, texts in DAMAGE.items() for text in texts])
def test_a_damaged_file_is_named_with_a_remedy(write_run, printed, file, text):
    folder = write_run("one")
    (folder / file).write_text(text)
    with pytest.raises(DataError) as fault:
        printed(show(read_run(folder)))
    said = str(fault.value)
    assert str(folder / file) in said
    assert DAMAGE[file][text] in said
    assert ("--resume" if file == "summary.json" else "move it away") in said
    assert said.count("cannot be read") == 1


def test_a_table_of_other_columns_is_named(write_run, printed):
    folder = write_run("one")
    pd.DataFrame({"x": [1]}).to_parquet(folder / "rounds.parquet")
    with pytest.raises(DataError, match=r"rounds\.parquet .* no column round"):
        printed(show(read_run(folder)))


def test_a_client_that_never_answered_is_shown(write_run, printed):
    folder = write_run("one")
    rows = pd.read_parquet(folder / "clients.parquet")
    rows.loc[rows["client"] == "b", ["examples", "steps"]] = None
    rows.to_parquet(folder / "clients.parquet")
    assert line(printed(show(read_run(folder))), "b ").startswith("b 0 0 ")


def test_a_line_separator_in_a_text_ends_no_line(write_run):
    folder = write_run("one")
    for moment in ("before", "after"):
        row = json.dumps({"input": "a\u2028b", "text": "c"}, ensure_ascii=False)
        (folder / "generations" / f"{moment}.jsonl").write_text(row + "\n", encoding="utf-8")
    assert [row["input"] for row in read_run(folder).samples(3)] == ["a\u2028b"]


@pytest.mark.parametrize("kind", ["", "central", "local"])
def test_only_a_federated_run_is_to_be_resumed(write_run, kind):
    folder = write_run("one")
    (folder / "summary.json").unlink()  # as in a run that was extended and interrupted
    (folder / "environment.json").write_text(json.dumps({"baseline": kind}))
    with pytest.raises(DataError, match="has not ended") as fault:
        read_run(folder)
    assert ("--resume" in str(fault.value)) == (kind == "")
    assert (f"start it again with fedtailor run {folder}/job.yaml --baseline {kind}" in str(fault.value)) == (kind != "")


def test_a_local_baseline_that_was_interrupted_is_known_by_its_clients(tmp_path):
    (tmp_path / "clients" / "a" / "alone").mkdir(parents=True)
    with pytest.raises(DataError, match=r"has not ended.*--baseline local"):
        read_run(tmp_path)


def test_very_large_figures_leave_rows_whole_at_80_columns(write_run):
    figures = {"loss": 2.0, "perplexity_word": 1.0e10}
    scopes = {key: figures for key in ("mean", "worst", "p10")}
    metrics = {"before": figures, "after": figures}
    run = read_run(write_run("one", metrics=metrics, clients={"before": scopes, **scopes}))
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(show(run))
    rows = [" ".join(row.split()) for row in captured.get().splitlines() if row.strip().startswith("per word")]
    both = "1.00e10 → 1.00e10"  # of all clients, their mean, the worst and the last tenth: what does not fit stands below
    assert rows == [f"per word {both} +0 % {both} {both}", f"per word {both}"]


def test_what_is_not_finite_is_no_best_figure(write_run, printed):
    runs = [read_run(write_run(name, loss=loss)) for name, loss in (("one", float("nan")), ("two", 1.25))]
    assert line(printed(compare(runs)), "loss") == "loss – 1.250"


def test_cosines_of_prefixes_have_a_column_where_a_run_has_them(write_run, printed):
    folder = write_run("one")
    assert "prefix cosine" not in printed(show(read_run(folder)))
    rounds = pd.read_parquet(folder / "rounds.parquet")
    rounds.assign(prefix_cosine=[0.84216, 0.9]).to_parquet(folder / "rounds.parquet")
    text = printed(show(read_run(folder)))
    assert "prefix cosine" in text
    assert "0.8422" in text


def test_equal_numbers_are_no_difference():
    jobs = [{"tuning": {"alpha": 16, "targets": ["q"]}, "x": 1e-5}, {"tuning": {"alpha": 16.0, "targets": ["q"]}, "x": 0.00001}]
    assert differences(jobs) == {}
    jobs[1]["tuning"]["alpha"] = 32.0
    assert differences(jobs) == {"tuning.alpha": ["16", "32"]}


def test_a_run_without_figures_of_quality_has_no_table_of_them(write_run, printed):
    """A GAN has no loss: of its test parts the number of pictures alone is known."""
    text = printed(
        show(read_run(write_run("one", metrics={"before": {"examples": 9.0}, "after": {"examples": 9.0}}, clients={})))
    )
    assert "before → after" not in text
    assert line(text, "sent by clients")
