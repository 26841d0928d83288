"""What every personalization promises: nothing personal crosses the gate, and an interrupted run resumes to the same bits."""

import json
from copy import copy
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from jobs import tiny_job, tiny_rows
from safetensors.torch import load_file

from fedtailor.learning.store import Store
from fedtailor.personalization import PERSONALIZATIONS
from fedtailor.protection import gate
from fedtailor.running import run

KINDS = {
    "finetune": {"kind": "finetune", "steps": 2, "learning_rate": 0.02},
    "fedper": {"kind": "fedper", "home": ["*.layers.1.*"]},
    "fedsa-lora": {"kind": "fedsa-lora"},
    "fedrep": {"kind": "fedrep", "home": ["lora_B"], "home_steps": 1},
    "ditto": {"kind": "ditto", "pull": 0.5},
    "feddpa-f": {"kind": "feddpa", "steps": 2},
    "feddpa-t": {"kind": "feddpa", "variant": "T", "weight": 0.3, "rank": 3},
    "fedalt": {"kind": "fedalt"},
}
every_kind = pytest.mark.parametrize(
    "settings", [pytest.param(settings, id=kind, marks=pytest.mark.xdist_group(kind)) for kind, settings in KINDS.items()]
)
CHANGES = {"protocol__local__keep_optimizer": True, "clients__per_round": 3, "protocol__local__steps": 2, "stop__rounds": 3}


def test_no_kind_is_forgotten():
    assert {settings["kind"] for settings in KINDS.values()} == set(PERSONALIZATIONS) - {"none"}


def files_of(folder):
    """Return every weight that a run and its clients ended with, and the figures that do not depend on the clock."""
    weights = {str(file.relative_to(folder)): load_file(file) for file in folder.glob("**/adapter/*.safetensors")}
    own = {str(file.relative_to(folder)): load_file(file) for file in folder.glob("clients/*/state-*.safetensors")}
    summary = json.loads((folder / "summary.json").read_text())
    table = pd.read_parquet(folder / "evaluations.parquet")
    return weights | own, {name: summary[name] for name in ("personal", "metrics", "clients")}, table


def assert_same_run(one, other):
    (left, figures, table), (right, others, other_table) = files_of(one), files_of(other)
    assert left.keys() == right.keys()
    assert len(left) >= 5  # the shared adapter and four clients' own
    for file in left:
        assert left[file].keys() == right[file].keys()
        assert all(torch.equal(left[file][name], right[file][name]) for name in left[file]), file
    assert figures == others
    pd.testing.assert_frame_equal(table, other_table)


class Killed(BaseException):
    """Goes through every handler of faults, as a kill does."""


def killed_at(monkeypatch, owner, name, call):
    """Let the call numbered `call` of a method do its work and then end the run."""
    original, calls = getattr(owner, name), []

    def method(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, method)


@pytest.fixture(scope="module")
def whole_run(tiny_backbone_folder, tmp_path_factory):
    """Return a way to get a whole run of each kind, carried out once, and every message of it as it was encoded."""
    found = {}

    def carry_out(settings):
        folder = tmp_path_factory.mktemp("whole") / "r"
        messages, sent_bytes, up = [], [], []
        encode, leave = gate.encode, gate.Gate.leave_client

        def watched(message):
            messages.append(message)
            sent_bytes.append(encode(message))
            return sent_bytes[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gate, "encode", watched)
            patch.setattr(
                gate.Gate, "leave_client", lambda self, message, asked=None: up.append(message) or leave(self, message, asked)
            )
            result = run(tiny_job(tiny_backbone_folder, **CHANGES, personalization=settings), data=data(), out=folder)
        return SimpleNamespace(folder=folder, messages=messages, sent_bytes=sent_bytes, up=up, summary=result.summary)

    def get(settings):
        key = json.dumps(settings)
        found[key] = found.get(key) or carry_out(settings)
        return found[key]

    return get


def data():
    return {"train": tiny_rows(), "test": tiny_rows()[:3]}


@pytest.mark.few(4)
@every_kind
@pytest.mark.parametrize("moment", ["in a round", "while personalizing", "after more rounds"])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(make_job, tmp_path, *, monkeypatch, whole_run, settings, moment):
    whole = whole_run(settings).folder
    changes = {**CHANGES, "personalization": settings}
    job = make_job(**changes)
    if moment == "after more rounds":
        run(make_job(**changes | {"stop__rounds": 2}), data=data(), out=tmp_path / "cut")
    else:
        owner, name, call = {
            "in a round": (Store, "keep", 5),  # the second client of round 2 has kept what belongs to it
            "while personalizing": (Store, "write_model", 2),  # one client's folder is written, and half of another's work
        }[moment]
        with monkeypatch.context() as patch:
            killed_at(patch, owner, name, call)
            with pytest.raises(Killed):
                run(job, data=data(), out=tmp_path / "cut")
        assert not (tmp_path / "cut" / "summary.json").exists()
    run(job, data=data(), resume=tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")


@every_kind
def test_nothing_personal_crosses_the_gate(whole_run, settings):
    """Every message is read as it is encoded: upwards go the changes of shared weights and figures, and no personal tensor."""
    whole = whole_run(settings)
    folder = whole.folder
    assert {message.kind for message in whole.messages} == {"train", "evaluate", "personalize"}
    shared = set(load_file(folder / "checkpoint" / "000003" / "shared.safetensors"))
    personal = [load_file(file) for file in folder.glob("clients/*/adapter/*.safetensors")]
    personal += [
        {name.split("/", 1)[1]: value for name, value in load_file(file).items() if name.startswith("own/")}
        for file in folder.glob("clients/*/state-*.safetensors")
    ]
    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    secret = [
        (name, value)
        for own in personal
        for name, value in own.items()
        if not (name in adapter and torch.equal(value, adapter[name])) and value.abs().sum()
    ]
    if settings["kind"] == "fedalt":  # a client's LoRA goes into the mean of all; its gates are what nobody else sees
        secret = [(name, value) for name, value in secret if ".gate." in name]
    assert secret
    for name, value in secret:
        if value.numel() > 1:
            assert not any(value.numpy().tobytes() in data for data in whole.sent_bytes), name
    for message in whole.messages:
        assert set(message.tensors) <= shared
        for name, value in secret:
            sent = message.tensors.get(name)
            if sent is not None and name not in shared:
                pytest.fail(f"{name} travels in a message of kind {message.kind}")
            if sent is not None and message.kind == "personalize":
                assert not torch.equal(sent, value)
    assert all(not message.tensors for message in whole.up if message.kind != "train")
    for message in whole.up:  # figures, and the counts that they follow from
        for value in message.facts.values() if message.kind == "personalize" else ():
            assert all(isinstance(number, int | float) for number in (value if isinstance(value, list) else [value]))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["up"]["personalize"]["tensors"] == {}
    assert set(manifest["up"]["train"]["tensors"]) <= shared


@every_kind
def test_show_says_what_it_gave_each_client(whole_run, settings):
    from rich.console import Console

    from fedtailor.report import read_run, show

    whole = whole_run(settings)
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(show(read_run(whole.folder)))
    text = console.export_text()
    assert "personal: perplexity" in text
    own = whole.summary["personal"]["personal"]
    for scope in ("mean", "worst", "p10"):
        assert f"{own[scope]['perplexity']:,.1f}" in text


@every_kind
def test_a_client_that_was_never_asked_to_train_has_nothing_of_its_own(make_job, rows, tmp_path, settings):
    """One of four clients is asked in the one round; who trains for itself after the rounds has weights of its own all the same."""
    after = {"finetune": {"keep": "last"}, "feddpa-f": {}}
    kind = next(kind for kind, known in KINDS.items() if known == settings)
    job = make_job(stop__rounds=1, clients__per_round=1, personalization=settings | after.get(kind, {}))
    told = run(job, data=rows, out=tmp_path / "r").summary["personal"]
    asked = set(pd.read_parquet(tmp_path / "r" / "clients.parquet")["client"])
    own = {client for client, of in told["clients"].items() if of["kept"]}
    assert len(asked) == 1
    assert own == (set(told["clients"]) if kind in after else asked)
    assert told["kept"] == len(own)
    for client in (
        told["clients"].keys() - own if kind != "fedalt" else ()
    ):  # there it still has the others' LoRA beside its first
        assert told["clients"][client]["personal"]["loss"] == pytest.approx(told["clients"][client]["global"]["loss"], rel=1e-5)


@pytest.mark.few(4)
@every_kind
@pytest.mark.parametrize("task", ["generation", "classification"])
def test_every_clients_result_loads_and_measures_the_same(
    tiny_backbone_folder, tiny_bert_folder, rows, tmp_path, *, settings, task
):
    """The folder of each client, put on a fresh backbone, has the loss, the texts and the classes that were told."""
    from fedtailor.assembly import assemble
    from fedtailor.models import load_backbone
    from fedtailor.personalization import load_personal
    from fedtailor.tasks.evaluate import evaluate
    from fedtailor.tasks.evaluation import Pass

    backbone, changes = tiny_backbone_folder, {"personalization": settings, "stop__rounds": 2}
    if task == "classification":
        rows = [{"text": row["input"], "label": row["food"]} for row in rows]
        home = {"home": ["classifier"]} if settings["kind"] in ("fedper", "fedrep") else {}
        backbone, changes["task"] = tiny_bert_folder, {"kind": "classification"}
        changes |= {"personalization": {name: value for name, value in settings.items() if name != "home"} | home}
    job = tiny_job(backbone, **changes)
    told = run(job, data=rows, out=tmp_path / "r").summary["personal"]["clients"]
    parts = assemble(job, given=rows)
    worker, resolved = parts.worker, parts.worker.task
    for client, own in parts.clients.items():
        labels = resolved.labels if task == "classification" else ()
        kind = resolved.backbone
        fresh = load_backbone(
            job.backbone, kind=kind, labels=labels, precision="float32", device=worker.device, base=job.base, seed=job.seed
        )
        model = load_personal(fresh.model, tmp_path / "r" / "clients" / client / "adapter")
        plain = copy(worker)
        plain.model, plain.evaluation = model, job.evaluation
        found = evaluate(plain, own.test, Pass(generate=True))
        assert found.figures == pytest.approx(told[client]["personal"], rel=1e-5)
        if found.texts:
            lines = (tmp_path / "r" / "clients" / client / "generations-personal.jsonl").read_text().splitlines()
            assert [json.loads(line)["text"] for line in lines] == [text["text"] for text in found.texts]
