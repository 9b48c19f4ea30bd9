"""``dsarecon fetch`` and ``dsarecon send``: options, exit codes, and what is said."""

import json
import sys

import pytest
from helpers.dicomweb_stub import STUDY, Behavior, read_objects, serving
from helpers.xa_objects import write_xa

from DSAReconLib.cli.main import main

pytest.importorskip("dicomweb_client")
pytest.importorskip("pynetdicom")


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    for name in ("USER", "PASSWORD", "TOKEN", "CREDENTIALS"):
        monkeypatch.delenv(f"DSARECON_PACS_{name}", raising=False)


@pytest.fixture
def run_file(tmp_path):
    return write_xa(tmp_path / "run.dcm", StudyInstanceUID=STUDY, SOPInstanceUID="1.2.3.4")


def test_fetch_prints_the_folder_and_names_no_patient(run_file, tmp_path, capsys):
    with serving(Behavior(objects=read_objects([run_file]))) as url:
        code = main(["fetch", "--dicomweb", url, "--study", STUDY, "--out", str(tmp_path / "study")])
    said = capsys.readouterr()
    assert code == 0
    assert said.out == f"{tmp_path / 'study'}\n"
    assert "Fetched 1 objects." in said.err
    assert not any(word in said.out + said.err for word in ("Doe", "Jane", "SECRET-4711"))


def test_fetch_tells_its_outcome_as_events(run_file, tmp_path, capsys):
    with serving(Behavior(objects=read_objects([run_file]))) as url:
        main(["fetch", "--dicomweb", url, "--study", STUDY, "--out", str(tmp_path / "study"), "--json-progress"])
    lines = capsys.readouterr().out.splitlines()
    events = [json.loads(line.removeprefix("@dsarecon ")) for line in lines if line.startswith("@dsarecon ")]
    assert {event.get("stage") for event in events} >= {"query", "fetch"}
    assert events[-1] == events[-1] | {"event": "finished", "result": str(tmp_path / "study")}


def test_every_failed_object_is_named_on_stderr(run_file, tmp_path, capsys):
    behavior = Behavior(objects=read_objects([run_file]), faults={"1.2.3.4": [500]})
    with serving(behavior) as url:
        code = main(["fetch", "--dicomweb", url, "--study", STUDY, "--out", str(tmp_path / "study")])
    said = capsys.readouterr().err
    assert code == 1
    assert "warning: 1.2.3.4: the server answered HTTP 500" in said
    assert "error: 1 of 1 objects could not be fetched: 1.2.3.4 (the server answered HTTP 500)." in said


def test_send_takes_folders_and_refuses_what_is_no_object(run_file, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no object")
    behavior = Behavior()
    with serving(behavior) as url:
        assert main(["send", str(tmp_path), "--dicomweb", url]) == 0
        assert "stored 1 objects" in capsys.readouterr().err
        assert main(["send", str(tmp_path / "notes.txt"), "--dicomweb", url]) == 1
        assert "notes.txt is not a DICOM object" in capsys.readouterr().err
        assert main(["send", str(tmp_path / "none"), "--dicomweb", url]) == 1
        assert "does not exist" in capsys.readouterr().err
    assert behavior.stored == [run_file.read_bytes()]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--dicomweb", "http://pacs.example/d"], "would not be encrypted"),
        (["--dimse", "pacs.example:104"], "would not be encrypted"),
        (["--dicomweb", "https://nurse:hunter2@pacs.example/d"], "holds a user name or password"),
        (["--dicomweb", "https://pacs.example/d", "--tls"], "--tls has no meaning with --dicomweb"),
        (["--dicomweb", "https://pacs.example/d", "--aet", "A"], "--aet has no meaning with --dicomweb"),
        (["--dimse", "127.0.0.1:104", "--credentials", "f"], "--credentials has no meaning with --dimse"),
        (["--dimse", "127.0.0.1:104", "--ca-file", __file__], "does not use TLS"),
        (["--dimse", "127.0.0.1"], "not HOST:PORT"),
        (["--dimse", "127.0.0.1:99999"], "Port 99999 does not exist"),
        (["--dimse", "127.0.0.1:104", "--study", "patient"], "--study is 'patient', which is no DICOM UID"),
        ([], "required"),
        (["--dimse", "127.0.0.1:104", "--timeout", "0"], "seconds above 0"),
    ],
)
def test_contradicting_options_are_usage_errors(options, text, tmp_path, capsys):
    assert main(["fetch", "--study", STUDY, "--out", str(tmp_path / "study"), *options]) == 2
    said = capsys.readouterr().err
    assert text in said
    assert "hunter2" not in said
    assert not list(tmp_path.iterdir())


def test_insecure_line_is_warned_of(tmp_path, capsys, monkeypatch):
    from DSAReconLib.dicom.network import endpoint

    monkeypatch.setattr(endpoint, "is_loopback", lambda host: False)
    with serving(Behavior()) as url:
        main(["fetch", "--dicomweb", url, "--study", STUDY, "--out", str(tmp_path / "x"), "--insecure"])
    assert "is not encrypted: patient data can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "options"),
    [("dicomweb_client.web", ["--dicomweb", "https://pacs.example/d"]), ("pynetdicom", ["--dimse", "127.0.0.1:104"])],
)
def test_missing_package_names_the_extra(package, options, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["fetch", "--study", STUDY, "--out", str(tmp_path / "study"), *options]) == 1
    assert "pip install dsarecon[pacs]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["fetch", "send"])
def test_help_offers_no_option_for_a_password(command, capsys):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--password" not in said
    assert "--token" not in said
    assert "DSARECON_PACS_PASSWORD" in said
