"""Clients are made when they are asked for, and one may work with what is its own."""

from dataclasses import replace

import pytest
import torch
from jobs import assert_same_adapter

from fedtailor.assembly import assemble, examples, server_model
from fedtailor.assembly.own_backbones import OwnModel
from fedtailor.running import carry_out, run
from fedtailor.tasks import Generation

CLIENTS = [f"client-0{number}" for number in range(4)]


def test_examples_of_more_clients_than_are_held_are_prepared_again_and_said_once(make_job, rows, tmp_path, monkeypatch):
    odd = [{**row, "input": "x" * 900} if number % 12 == 0 else row for number, row in enumerate(rows)]
    job, notes = (
        make_job(task={"kind": "generation", "truncate": "drop", "max_tokens": 200}, stop__rounds=2, stop__keep="last"),
        {},
    )
    prepared: list[int] = []
    prepare = Generation.prepare
    monkeypatch.setattr(Generation, "prepare", lambda *given, **more: prepared.append(1) or prepare(*given, **more))
    for held in (4, 1):
        monkeypatch.setattr(examples, "KEPT", held)
        prepared.clear()
        parts = assemble(job, given=odd, clients_folder=tmp_path / str(held) / "clients", warn=notes.setdefault(held, []).append)
        begun, heard = len(prepared), len(notes[held])
        carry_out(parts, tmp_path / str(held))
        assert (len(prepared) > begun) == (held == 1)
        assert len(notes[held]) == heard
    assert notes[1] == notes[4]
    assert any("cannot be used and are left out" in note for note in notes[1])
    assert_same_adapter(tmp_path / "1", tmp_path / "4")


def test_nothing_is_made_for_clients_that_are_never_asked(make_job, rows):
    parts = assemble(make_job(), given=rows)
    assert list(parts.clients) == CLIENTS
    assert not parts.clients.stores
    own = parts.clients["client-02"]
    assert [len(own.train), len(own.validation), len(own.test)] == [
        getattr(parts.clients.amounts["client-02"], part) for part in ("train", "validation", "test")
    ]
    assert parts.clients.amounts["client-02"].tokens == int(own.train.sizes_N.sum())
    assert list(parts.clients.stores) == ["client-02"]
    with pytest.raises(KeyError):
        parts.clients["client-04"]


def test_what_clients_keep_is_listed_and_rolled_back_without_making_the_others(make_job, rows, tmp_path):
    parts = assemble(make_job(), given=rows, clients_folder=tmp_path)
    for version in (1, 2):
        parts.clients.stores["client-03"].keep(version, {"own/a": torch.ones(1)})
    again = replace(parts.clients)  # as a process that begins anew has it
    assert again.kept_at(1) == {"client-03": 1}
    again.roll_back(1)
    assert again.kept_at(5) == {"client-03": 1}
    assert list(again.stores) == ["client-03"]


def test_a_client_may_have_a_task_of_its_own(make_job, rows, tmp_path, monkeypatch):
    """Its worker prepares, trains and evaluates by that task; the weights are shared all the same."""

    def other_task(job, worker, divided, **rest):
        task = replace(worker.task, template="{input} is said to be: {target}")
        model = server_model.load_backbone(
            job.backbone, kind=task.backbone, labels=(), precision="float32", device=worker.device, base=job.base, seed=job.seed
        )
        return {"client-01": OwnModel(backbone=model, worker=replace(worker, task=task))}

    monkeypatch.setattr(server_model, "own_models", other_task)
    parts = assemble(make_job(stop__rounds=1, stop__keep="last"), given=rows, clients_folder=tmp_path / "r" / "clients")
    texts = {client: parts.worker.processor.decode(own.train.tokens_T.tolist()) for client, own in parts.clients.items()}
    assert [client for client, text in texts.items() if "is said to be" in text] == ["client-01"]
    result = carry_out(parts, tmp_path / "r")
    assert result.summary["rounds"] == 1
    monkeypatch.undo()
    run(make_job(stop__rounds=1, stop__keep="last"), data=rows, out=tmp_path / "alike")
    with pytest.raises(AssertionError):
        assert_same_adapter(tmp_path / "r", tmp_path / "alike")
