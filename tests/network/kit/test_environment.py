"""What the processes of a kit get of the user's environment."""

import subprocess
import sys

import pytest

from fedtailor.network.kit.environment import clean_environment
from fedtailor.network.site import model_keeper


def test_what_is_needed_stays_and_secrets_and_strangers_go(tmp_path):
    needed = {
        "PATH": "/bin",
        "HOME": "/home/a",
        "LC_ALL": "C",
        "CUDA_VISIBLE_DEVICES": "1",
        "OMP_NUM_THREADS": "2",
        "HF_HUB_OFFLINE": "1",
    }
    strange = {
        "HF_TOKEN": "t",
        "AWS_SECRET_ACCESS_KEY": "s",
        "LD_PRELOAD": "/x.so",
        "PYTHONSTARTUP": "/x.py",
        "SSH_AUTH_SOCK": "/s",
        "MY_KEY": "k",
    }
    assert clean_environment(tmp_path, {**needed, **strange}) == {**needed, "PYTHONSAFEPATH": "1"}


def test_the_key_of_the_owners_endpoint_stays(tmp_path):
    (tmp_path / "mine.yaml").write_text("url: http://127.0.0.1:1/v1\nmodel: a\nkey: MY_KEY\n")
    given = {"FEDTAILOR_ENDPOINT": str(tmp_path / "mine.yaml"), "MY_KEY": "k", "OTHER_KEY": "o"}
    assert clean_environment(tmp_path, given) == {
        "FEDTAILOR_ENDPOINT": given["FEDTAILOR_ENDPOINT"],
        "MY_KEY": "k",
        "PYTHONSAFEPATH": "1",
    }


def test_no_module_comes_from_the_kit_or_the_working_folder(tmp_path):
    kit, own = tmp_path / "kit", tmp_path / "own"
    code = kit / "job" / "app_north" / "custom"
    for folder in (kit, code, own):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"planted_{folder.name}.py").touch()
    environment = clean_environment(kit, {"PYTHONPATH": f"{code}:{own}::relative"})
    ask = "import importlib.util as u; print([u.find_spec('planted_' + name) is not None for name in ('kit', 'custom', 'own')])"
    done = subprocess.run([sys.executable, "-c", ask], cwd=kit, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[False, False, True]\n"


def test_the_models_process_starts_in_a_folder_of_its_own_without_the_kits_modules(tmp_path, monkeypatch):
    started = {}

    def start(command, **settings):
        started.update(settings, command=command)
        raise OSError("no process today")

    monkeypatch.setattr(model_keeper.subprocess, "Popen", start)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "app" / "custom"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    with pytest.raises(OSError, match="no process today"):
        model_keeper.ModelKeeper({"kit": str(tmp_path)}, tmp_path / "runs" / "a" / "log.txt").open()
    assert started["command"][1] == "-P"
    assert started["cwd"] == tmp_path / "runs" / "a"
    assert {"HF_TOKEN", "PYTHONPATH"}.isdisjoint(started["env"])
