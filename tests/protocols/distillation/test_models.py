"""Distillation among models that differ: in width, in depth, in tokenizer for classes, in rank."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import train_tokenizer
from distilling import LEARN, assert_same_run, class_data, class_job, weights
from jobs import tiny_job, tiny_rows

from fedtailor.assembly import assemble, estimate, own_backbones
from fedtailor.errors import BackboneError, ResumeError, SettingError
from fedtailor.learning.distil import classes_of, say
from fedtailor.running import run


def save(folder: Path, model, tokenizer) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def wide_bert(tmp_path_factory):
    """Return a BERT of width 24 and three blocks, with other words than the tiny one's."""
    from transformers import BertConfig, BertModel

    tokenizer = train_tokenizer(280)
    torch.manual_seed(1)
    config = BertConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=256,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )
    return save(tmp_path_factory.mktemp("own") / "wide-bert", BertModel(config), tokenizer)


def save_llama(folder: Path, *, words: int, rows: int | None = None, width: int = 24) -> Path:
    """Save a Llama whose tokenizer has so many words, and whose embedding has so many rows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tokenizer(words)
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        vocab_size=rows or len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return save(folder, LlamaForCausalLM(config), tokenizer)


def text_job(backbone, **changes):
    protocol = {"kind": "distillation", "public": "rest", "top_k": 8, "local": LEARN, "align": LEARN, "distil": LEARN}
    return tiny_job(backbone, protocol=protocol, data__limit={"train": 36}, stop__rounds=2, **changes)


def own(backbone, **more):
    return {"client-01": {"backbone": str(backbone), **more}}


def test_clients_distil_with_backbones_of_their_own(tiny_bert_folder, wide_bert, tmp_path):
    job = class_job(tiny_bert_folder, clients__overrides=own(wide_bert, tuning={"rank": 4}), stop__rounds=3)
    result = run(job, data=class_data(), out=tmp_path / "r")
    wide, usual = (weights(result.folder / "clients" / f"client-0{n}") for n in (1, 0))
    factors = [tensor for name, tensor in wide.items() if "lora_A" in name]
    assert {tuple(factor.shape) for factor in factors} == {(4, 24)}
    assert {tuple(t.shape) for name, t in usual.items() if "lora_A" in name} == {(2, 16)}
    config = json.loads((result.folder / "clients/client-01/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(wide_bert)
    told = result.summary["distillation"]["clients"]["client-01"]["public"]
    assert told["loss"] < result.summary["metrics"]["before"]["loss"]  # it learned, on the public test set in its own words
    environment = json.loads((result.folder / "environment.json").read_text())
    assert environment["own_backbones"]["client-01"]["weights"] != environment["backbone"]["weights"]


def test_each_client_reads_public_texts_in_its_own_words(tiny_bert_folder, wide_bert):
    parts = assemble(class_job(tiny_bert_folder, clients__overrides=own(wide_bert)), given=class_data())
    mine, other = (
        parts.protocol.client(parts.clients[client], public=parts.server_test) for client in ("client-00", "client-01")
    )
    for one, two in ((mine.public.shard, other.public.shard), (mine.test, other.test)):
        assert len(one) == len(two)
        assert one.labels_N.tolist() == two.labels_N.tolist()
        assert one.tokens_T.tolist() != two.tokens_T.tolist()
    texts = [other.client.worker.processor.decode(row) for row in other.test.tokens_T.split(other.test.sizes_N.tolist())]
    assert texts[0] == parts.server_test.examples[0].fields["text"]


def test_a_clients_costs_are_those_of_its_own_model(tiny_bert_folder, wide_bert):
    parts = assemble(class_job(tiny_bert_folder, clients__overrides=own(wide_bert)), given=class_data())
    costs = estimate(parts)
    assert costs["client-01"].memory_bytes > costs["client-00"].memory_bytes
    assert costs["client-01"].train_flops > costs["client-00"].train_flops
    assert costs["client-01"].up_bytes == costs["client-00"].up_bytes  # logits are logits


def test_a_run_that_was_stopped_continues_to_the_same_bits(tiny_bert_folder, wide_bert, tmp_path):
    job = class_job(tiny_bert_folder, clients__overrides=own(wide_bert), stop__rounds=2, p_slice=0.5)
    run(job, data=class_data(), out=tmp_path / "whole")
    run(job.replace("stop.rounds", 1), data=class_data(), out=tmp_path / "parts")
    run(job, data=class_data(), resume=tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_another_backbone_of_a_client_is_refused_on_resume(tiny_bert_folder, wide_bert, tmp_path):
    from shutil import copytree

    from transformers import AutoModel

    copy = Path(copytree(wide_bert, tmp_path / "own"))
    job = class_job(tiny_bert_folder, clients__overrides=own(copy), stop__rounds=1)
    run(job, data=class_data(), out=tmp_path / "r")
    model = AutoModel.from_pretrained(copy)
    torch.nn.init.zeros_(model.embeddings.word_embeddings.weight)
    model.save_pretrained(copy)
    with pytest.raises(ResumeError, match="another own_backbones"):
        run(job.replace("stop.rounds", 2), data=class_data(), resume=tmp_path / "r")


def test_language_models_of_one_tokenizer_differ_in_size_and_in_rows_of_their_head(tiny_backbone_folder, tmp_path):
    padded = save_llama(tmp_path / "padded", words=300, rows=320)  # as Qwen2.5 of 7 billion weights beside that of a half
    job = text_job(tiny_backbone_folder, clients__overrides=own(padded))
    parts = assemble(job, given=tiny_rows())
    worker = parts.clients["client-01"].worker
    assert worker.model.get_output_embeddings().weight.shape[0] == 320
    assert classes_of(worker) == parts.protocol.wire.classes == 300
    said = say(worker, parts.clients["client-01"].train, lambda logits_NC: {"logits": logits_NC})
    assert said["logits"].shape[1] == 300
    result = run(job, data=tiny_rows(), out=tmp_path / "r")
    assert result.summary["clients"]["failed"] == []
    assert result.summary["distillation"]["clients"]["client-01"]["own"]["loss"] > 0


def test_ranks_may_differ_from_client_to_client(tiny_bert_folder, tmp_path):
    make = partial(class_job, tiny_bert_folder)
    job = make(clients__overrides={"client-01": {"tuning": {"rank": 1}}}, stop__rounds=2)
    run(job, data=class_data(), out=tmp_path / "r")
    run(
        make(clients__overrides={"client-01": {"tuning": {"rank": 1}}}, stop__rounds=1), data=class_data(), out=tmp_path / "parts"
    )
    run(job, data=class_data(), resume=tmp_path / "parts")
    assert_same_run(tmp_path / "r", tmp_path / "parts")
    for client, rank in (("client-00", 2), ("client-01", 1)):
        model = weights(tmp_path / "r" / "clients" / client)
        assert {tensor.shape[0] for name, tensor in model.items() if "lora_A" in name} == {rank}
    with pytest.raises(SettingError, match=r"ensemble does not go with clients\.overrides"):
        run(job.replace("protocol.aggregation", {"kind": "ensemble"}), data=class_data(), out=tmp_path / "e")


def test_clients_of_one_backbone_and_several_ranks_have_it_in_memory_once(tiny_bert_folder, wide_bert, tmp_path, monkeypatch):
    loaded = []

    def load(name, **more):
        loaded.append(name)
        return load_backbone(name, **more)

    load_backbone = own_backbones.load_backbone
    monkeypatch.setattr(own_backbones, "load_backbone", load)
    overrides = {f"client-0{n}": {"backbone": str(wide_bert), "tuning": {"rank": rank}} for n, rank in enumerate((3, 1))}
    job = class_job(tiny_bert_folder, clients__overrides=overrides, stop__rounds=2)
    clients = assemble(job, given=class_data()).clients
    assert loaded == [str(wide_bert)]
    assert clients["client-00"].worker.model is clients["client-01"].worker.model
    run(job, data=class_data(), out=tmp_path / "r")
    for client, rank in (("client-00", 3), ("client-01", 1)):
        model = weights(tmp_path / "r" / "clients" / client)
        assert {tensor.shape for name, tensor in model.items() if "lora_A" in name} == {(rank, 24)}
        assert all(tensor.any() for name, tensor in model.items() if "lora_B" in name)  # it was trained
    run(job.replace("stop.rounds", 1), data=class_data(), out=tmp_path / "parts")
    run(job, data=class_data(), resume=tmp_path / "parts")
    assert_same_run(tmp_path / "r", tmp_path / "parts")
    alone = class_job(tiny_bert_folder, clients__overrides={"client-00": overrides["client-00"]}, stop__rounds=1)
    run(alone, data=class_data(), out=tmp_path / "alone")
    both = weights(tmp_path / "parts" / "clients" / "client-00")
    assert both.keys() == weights(tmp_path / "alone" / "clients" / "client-00").keys()  # names are those of one adapter alone


class TestRefused:
    """What cannot be, and is said before any work."""

    def test_language_models_of_another_tokenizer(self, tiny_backbone_folder, tmp_path):
        other = save_llama(tmp_path / "other", words=280)
        with pytest.raises(SettingError, match=r"server's tokenizer has 300 tokens, that of client 'client-01' 280"):
            run(text_job(tiny_backbone_folder, clients__overrides=own(other)), data=tiny_rows(), out=tmp_path / "r")
        assert not (tmp_path / "r").exists()

    def test_protocols_and_rules_that_average_weights(self, tiny_bert_folder, wide_bert, tmp_path):
        job = class_job(tiny_bert_folder, clients__overrides=own(wide_bert))
        ensemble = job.replace("protocol.aggregation", {"kind": "ensemble"})
        with pytest.raises(SettingError, match=r"client-01\.backbone.*distillation, aggregation: ensemble weights are averaged"):
            assemble(ensemble, given=class_data())
        for protocol in ({"kind": "averaging"}, {"kind": "split", "cut": 1}):
            with pytest.raises(SettingError, match=rf"client-01\.backbone.*protocol: {protocol['kind']} weights are averaged"):
                assemble(job.replace("protocol", protocol), given=class_data())

    def test_a_backbone_that_is_not_there_and_a_tuning_that_does_not_fit(self, tiny_bert_folder, wide_bert):
        with pytest.raises(BackboneError, match=r"clients\.overrides\.client-01\.backbone: .*nowhere"):
            assemble(class_job(tiny_bert_folder, clients__overrides=own("./nowhere")), given=class_data())
        tuning = {"kind": "lora", "rank": 2, "targets": ["encoder.layer.1.attention.self.query"]}
        job = class_job(tiny_bert_folder, tuning=tuning, clients__overrides=own(wide_bert))
        assert assemble(job, given=class_data()).clients["client-01"].worker.tuning.targets == job.tuning.targets

    def test_baseline_local(self, tiny_bert_folder, wide_bert, tmp_path):
        from fedtailor.studies.baselines import run_baseline

        job = class_job(tiny_bert_folder, clients__overrides=own(wide_bert), stop__rounds=1)
        with pytest.raises(SettingError, match="baseline local trains the job's backbone"):
            run_baseline(job, "local", data=class_data(), out=tmp_path / "local")
        assert run_baseline(job, "central", data=class_data(), out=tmp_path / "central").summary["baseline"] == "central"
