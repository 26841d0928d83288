"""The unit files and the container file in deploy/: read as they stand, and held against the commands and the project."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from fedtailor.network.kit.network_file import PORT

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "deploy").glob("*.service"))
CONTAINER = ROOT / "deploy" / "Containerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAM = "/opt/fedtailor/bin/fedtailor"
TYPED = re.compile(r"fedtailor (?:net|site) .*")


def parse(words):
    """Read a command as the shell would hand it over, and raise if it is none. Nothing is carried out."""
    import typer

    from fedtailor.cli.main import make_app

    command = typer.main.get_command(make_app())
    context = None
    while hasattr(command, "commands"):
        name, *words = words
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
        command = command.commands[name]
    command.make_context(command.name, list(words), parent=context)


def unit(file):
    read = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    read.optionxform = str
    read.read_string(file.read_text())
    return read


def stages():
    """Return the instructions of each stage of the container file as (NAME, rest)."""
    lines = [line for line in CONTAINER.read_text().replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    told = [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]
    starts = [number for number, (name, _) in enumerate(told) if name == "FROM"]
    return [told[start:end] for start, end in zip(starts, [*starts[1:], len(told)], strict=True)]


def one(stage, name):
    found = [rest for each, rest in stage if each == name]
    assert len(found) == 1, (name, found)
    return found[0]


def test_a_command_that_is_none_is_noticed():
    parse(["net", "serve", "x"])
    for wrong, words in (
        ("net serves x", "serves"),
        ("net serve", "Missing parameter"),
        ("site join x --datum y", "No such option"),
    ):
        with pytest.raises(Exception, match=words):
            parse(wrong.split())


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_a_unit_starts_a_command_that_there_is_in_places_that_it_may_write_to(file):
    service = unit(file)["Service"]
    home = f"/var/lib/{service['StateDirectory']}"
    program, *words = service["ExecStart"].split()
    assert program == PROGRAM
    assert PurePosixPath(program).name in PROJECT["project"]["scripts"]
    parse([word.replace("%i", "north") for word in words])
    named = [word for word in words if word.startswith("/")]
    settings = dict(word.split("=", 1) for word in service["Environment"].split())
    assert named
    assert all(path.startswith(f"{home}/") for path in named)
    assert service["WorkingDirectory"] == settings["HOME"] == home
    assert settings["FEDTAILOR_CACHE"].startswith(f"{home}/")
    assert "ReadWritePaths" not in service  # the state directory is all


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_a_unit_gives_no_right_that_is_not_needed(file):
    service = unit(file)["Service"]
    assert service["User"] not in {"root", "0"}
    assert service["StateDirectoryMode"] == "0700"
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "true"
    assert service["CapabilityBoundingSet"] == ""
    assert service["RestartPreventExitStatus"] == "2"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_systemd_finds_no_fault_in_a_unit(file, tmp_path):
    copy = tmp_path / file.name
    copy.write_text(file.read_text().replace(PROGRAM, sys.executable))  # it looks whether the program is there
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_container_runs_as_nobody_special_with_code_that_is_not_its_own():
    build, final = stages()
    user, group = one(final, "USER").split(":")
    assert "0" not in (user, group)
    assert f"--uid {user}" in one(final, "RUN")
    assert one(final, "COPY").startswith("--from=build /opt/fedtailor ")  # without --chown: it belongs to root
    assert one(final, "VOLUME") == one(final, "WORKDIR") == "/state"
    settings = dict(word.split("=", 1) for word in one(final, "ENV").split())
    assert settings["FEDTAILOR_CACHE"].startswith("/state/")
    assert settings["PATH"].startswith(f"{PurePosixPath(PROGRAM).parent}:")
    assert one(final, "EXPOSE") == str(PORT)
    assert one(final, "ENTRYPOINT") == '["fedtailor"]'
    assert "fedtailor" in PROJECT["project"]["scripts"]
    least = tuple(int(part) for part in PROJECT["project"]["requires-python"].removeprefix(">=").split("."))
    for stage in (build, final):
        python = re.match(r"python:(\d+)\.(\d+)-", one(stage, "FROM"))
        assert tuple(map(int, python.groups())) >= least


def test_nothing_is_copied_into_the_image_but_what_is_installed():
    build, _ = stages()
    sources = [word for name, rest in build if name == "COPY" for word in rest.split()[:-1]]
    assert set(sources) == {"constraints/dev.txt", "pyproject.toml", "README.md", "LICENSE", "recipes", "src"}
    assert all((ROOT / source).exists() for source in sources)
    assert [rest for name, rest in build if name == "RUN"][-1].endswith("'.[net]'")
    assert "net" in PROJECT["project"]["optional-dependencies"]
    assert not re.search(r"(?i)password|secret|token", CONTAINER.read_text())


@pytest.mark.parametrize("file", [CONTAINER, *UNITS], ids=lambda file: file.name)
def test_commands_in_comments_exist(file):
    comments = "\n".join(line.lstrip("# ") for line in file.read_text().splitlines() if line.startswith("#"))
    typed = TYPED.findall(comments)
    assert typed or file.name == "fedtailor-server.service"
    for line in typed:
        parse(line.split()[1:])


def test_the_manual_points_to_each_file():
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert [file.name for file in (CONTAINER, *UNITS) if f"deploy/{file.name}" not in page] == []
