"""A search for a prompt from its job to its result, without training."""

import io
import json

import pytest
from prompted import LABELS, METHOD, place_rows, prompting_job
from rich.console import Console

from fedtailor.cli.tryout import answers
from fedtailor.errors import RunError, SettingError
from fedtailor.export import export, open_run
from fedtailor.federation import LocalFederation
from fedtailor.models import load_plain
from fedtailor.models.tokenizer import load_tokenizer
from fedtailor.prompting import ReferenceReading, prompt_from_json, score_labels
from fedtailor.report import read_run, show
from fedtailor.running import run
from fedtailor.studies.baselines import baseline_job


@pytest.fixture(scope="module")
def done(tiny_backbone_folder, tmp_path_factory):
    events = []
    folder = tmp_path_factory.mktemp("prompting") / "run"
    made = run(
        prompting_job(tiny_backbone_folder),
        data=place_rows(),
        out=folder,
        watcher=lambda kind, facts: events.append((kind, facts)),
    )
    return made, events


def test_a_search_ends_by_itself_and_keeps_what_validates_best(done):
    made, events = done
    found = made.summary["prompting"]
    assert made.summary["stopped_by"] == "search"
    assert found["chosen_by"] == "validation"
    last = made.history.iloc[-1]
    assert last["validation"] == 1
    assert last["best_loss"] == min(found["finals"])
    rounds = [facts for kind, facts in events if kind == "round"]
    # 3 prompts to 2; 2 parents and 2 children to 2; the finalists (and the pool's best, if it is none of them)
    assert [int(facts["candidates"]) for facts in rounds][:2] == [3, 4]
    assert all(facts["median_loss"] >= facts["best_loss"] for facts in rounds)
    assert made.summary["trainable_parameters"] == 0


def test_the_loss_of_a_round_is_that_of_its_prompts_over_the_clients_examples(done, tiny_backbone_folder):
    made, _ = done
    prompt = prompt_from_json((made.folder / "prompt" / "prompt.json").read_text())
    model, tokenizer = (
        load_plain(tiny_backbone_folder, kind=open_run(made.folder).backbone.kind),
        load_tokenizer(tiny_backbone_folder),
    )
    texts = {row["text"]: row["label"].replace("_", " ") for row in place_rows()}
    parts = {client: [] for client in ("client-00", "client-01", "client-02")}
    import pandas as pd

    table = pd.read_parquet(made.folder / "partition.parquet")
    rows = place_rows()
    for example, client, part in table[["example", "client", "part"]].itertuples(index=False):
        if part == "validation":
            parts[client].append(rows[int(example.rpartition("-")[2])]["text"])
    loss = sum(score_labels(model, tokenizer, prompt, [(text, texts[text]) for text in own]).loss_sum for own in parts.values())
    assert loss / sum(map(len, parts.values())) == pytest.approx(min(made.summary["prompting"]["finals"]), abs=1e-5)


def test_only_prompts_go_down_and_sums_come_up(done):
    made, _ = done
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert set(manifest["up"]) == {"scored", "evaluate"}
    assert not any(
        fact["type"] in ("str", "list[str]") for message in manifest["up"].values() for fact in message["facts"].values()
    )
    assert not any(message["tensors"] for message in manifest["up"].values())
    traffic = made.summary["traffic"]["by_kind"]["train"]
    assert 0 < traffic["up_bytes"] < traffic["down_bytes"]


def test_try_and_export_use_the_prompt_byte_for_byte(done, tmp_path):
    made, _ = done
    text = (made.folder / "prompt" / "prompt.json").read_bytes()
    assert text.decode() == made.summary["prompting"]["found"]
    folder = export(made.folder, to=None, folder=tmp_path / "out")
    assert (folder / "prompt.json").read_bytes() == text
    card = (folder / "README.md").read_text()
    assert made.summary["prompting"]["prompt"] in card
    before, after = answers(made.folder, ["The inn 3 is in the town."], {})
    assert all(any(label in answer for label in LABELS) for answer in (*before, *after))
    with pytest.raises(SettingError, match="try --to prompt"):
        export(made.folder, to="merged", folder=tmp_path / "merged")


def test_show_has_a_row_a_round_and_the_prompt(done):
    made, _ = done
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(show(read_run(made.folder)))
    shown = console.export_text()
    assert f"{len(made.history)} validation" in shown
    assert "the best of" in shown


def test_resumed_equals_unbroken(done, tiny_backbone_folder, tmp_path):
    made, _ = done
    run(prompting_job(tiny_backbone_folder, stop__rounds=1), data=place_rows(), out=tmp_path / "r")
    again = run(prompting_job(tiny_backbone_folder), data=place_rows(), resume=tmp_path / "r")
    assert again.summary["prompting"] == made.summary["prompting"]
    assert (again.folder / "prompt/prompt.json").read_bytes() == (made.folder / "prompt/prompt.json").read_bytes()
    assert again.history["best_loss"].tolist() == made.history["best_loss"].tolist()
    assert again.summary["metrics"] == made.summary["metrics"]


def test_clients_with_few_examples_score_nothing(tiny_backbone_folder, tmp_path):
    job = prompting_job(tiny_backbone_folder, protocol__method__start=40, protocol__few=40)
    with pytest.raises(RunError, match="no client has 40 examples"):
        run(job, data=place_rows(), out=tmp_path / "r")
    none = prompting_job(tiny_backbone_folder, clients__validation_share=0.0, protocol__method__generations=1)
    summary = run(none, data=place_rows(), out=tmp_path / "none").summary["prompting"]
    assert summary["chosen_by"] == "training"


def test_public_examples_are_shown_and_travel(tiny_backbone_folder, tmp_path):
    file = tmp_path / "public.jsonl"
    file.write_text("".join(json.dumps({"text": f"A mill {n}", "label": LABELS[n].replace(" ", "_")}) + "\n" for n in (0, 1)))
    method = METHOD | {"shots": str(file), "shot_counts": [2], "generations": 1}
    made = run(prompting_job(tiny_backbone_folder, protocol__method=method), data=place_rows(), out=tmp_path / "r")
    prompt = prompt_from_json(made.summary["prompting"]["found"])
    assert {label for _, label in prompt.shots} == set(LABELS)


def test_own_examples_are_shown_at_their_client_and_stay_there(tiny_backbone_folder, tmp_path, monkeypatch):
    from fedtailor.prompting import PromptReader

    read, sent = [], []
    working, ask = PromptReader.read, LocalFederation.ask
    monkeypatch.setattr(PromptReader, "read", lambda self, prompt, **more: read.append(prompt) or working(self, prompt, **more))

    def asking(self, requests, *given):
        replies = list(ask(self, requests, *given))
        sent.extend([*requests.values(), *(one.message for one in replies if one.message is not None)])
        return iter(replies)

    monkeypatch.setattr(LocalFederation, "ask", asking)
    method = METHOD | {"shots": "own", "shot_counts": [2], "generations": 1}
    made = run(prompting_job(tiny_backbone_folder, protocol__method=method), data=place_rows(), out=tmp_path / "r")
    prompt = prompt_from_json(made.summary["prompting"]["found"])
    assert (prompt.own_shots, prompt.shots) == (2, ())
    shown = {one.shots for one in read if one.shots}
    assert len(shown) == 3  # each client its own
    assert all({label for _, label in shots} == set(LABELS) for shots in shown)  # of as many labels as there can be
    texts = {row["text"] for row in place_rows()}
    assert {text for shots in shown for text, _ in shots} <= texts
    leaving = str([message.facts for message in sent]) + "".join(
        bytes(value.numpy().tobytes()).decode(errors="replace") for message in sent for value in message.tensors.values()
    )
    assert not any(text in leaving for text in texts)


def test_a_prompt_for_free_text(tiny_backbone_folder, tmp_path, capsys):
    rows = [{"input": row["text"], "target": row["label"].replace("_", " "), "references": ["a place"]} for row in place_rows()]
    task = {"kind": "reference-likelihood", "max_tokens": 40, "answer_tokens": 8}
    generate = {"max_new_tokens": 4}
    job = prompting_job(tiny_backbone_folder, task=task, evaluation__generate=generate)
    made = run(job, data=rows, out=tmp_path / "r")
    found = prompt_from_json(made.summary["prompting"]["found"])
    assert found.labels == ()
    assert set(made.summary["metrics"]["after"]) >= {"loss", "f1", "exact_match"}
    assert "best_accuracy" not in made.history.columns
    model, tokenizer = load_plain(tiny_backbone_folder, kind="causal"), load_tokenizer(tiny_backbone_folder)
    reading = ReferenceReading(model, tokenizer, found)
    last = made.history.iloc[-1]
    texts = {row["input"]: row["target"] for row in rows}
    import pandas as pd

    table = pd.read_parquet(made.folder / "partition.parquet")
    assert last["scored"] == (table.part == "validation").sum()
    assert last["best_loss"] <= max(reading.score([pair]).loss for pair in texts.items())
    before, after = answers(made.folder, ["The inn is by the river."], {})
    assert len(before) == len(after) == 1
    export(made.folder, to=None, folder=tmp_path / "out")
    assert "ReferenceReading" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(SettingError, match="method: black-box scores labels, and task: reference-likelihood has none"):
        run(
            prompting_job(
                tiny_backbone_folder, task=task, protocol__method={"kind": "black-box", "dimensions": 4, "examples": 4}
            ),
            data=rows,
            out=tmp_path / "none",
        )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tuning": {"kind": "lora"}}, "trains no weight; leave tuning out"),
        ({"protocol": {"kind": "averaging"}}, "does not go with protocol: averaging"),
        ({"personalization": {"kind": "ditto"}}, "personalization: ditto does not go"),
        ({"protocol__few": 9}, "method.start is 4, below few: 9"),
        ({"protocol__method__edits": ["drop", "paraphrase"]}, "there is no edit 'paraphrase'"),
        ({"protocol__method__edits": []}, r"protocol\.method\.edits is empty, and children"),
        ({"protocol__method__shot_counts": [2]}, "shot_counts needs examples: name a file of public ones"),
        ({"task__labels": ["a_b", "a b"]}, "both written 'a b'"),
        ({"task__labels": ["_", "a"]}, "no word"),
    ],
)
def test_settings_that_do_not_go_together_are_named(tiny_backbone_folder, changes, match):
    with pytest.raises(SettingError, match=match):
        prompting_job(tiny_backbone_folder, **changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"protocol__method__pool": []}, "pool is empty"),
        ({"protocol__method__pool": ["Name it.", "Name it."]}, "all 2 prompts are the same"),
        ({"protocol__method__pool": "nowhere.yaml"}, r"^protocol\.method\.pool: .*nowhere.yaml"),
        ({"protocol__method__shots": "nowhere.jsonl"}, r"^protocol\.method\.shots: .*nowhere.jsonl: there is no such file"),
        ({"protocol__method__shots": [["a", "zz"]]}, r"^protocol\.method\.shots: a public example has the label 'zz'"),
        ({"protocol__method__pool": ["long " * 60]}, "the backbone reads 256"),
    ],
)
def test_pools_that_cannot_be_used_are_named_before_anything_is_done(tiny_backbone_folder, tmp_path, changes, match):
    with pytest.raises(SettingError, match=match):
        run(prompting_job(tiny_backbone_folder, **changes), data=place_rows(), out=tmp_path / "r")
    assert not (tmp_path / "r" / "job.yaml").exists()


def test_a_search_without_children_needs_no_edits(tiny_backbone_folder, tmp_path):
    job = prompting_job(tiny_backbone_folder, protocol__method__children=0, protocol__method__edits=[])
    assert run(job, data=place_rows(), out=tmp_path / "r").summary["rounds"] > 0


def test_there_is_no_baseline_of_a_search(tiny_backbone_folder):
    with pytest.raises(SettingError, match="protocol: prompting trains no weight"):
        baseline_job(prompting_job(tiny_backbone_folder), "central")
