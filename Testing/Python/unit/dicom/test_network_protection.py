"""Who may see what: credentials, addresses, lines without TLS."""

import os

import pytest
from helpers.certificates import make_certificate

from DSAReconLib.dicom.network.credentials import Credentials, read_credentials
from DSAReconLib.dicom.network.endpoint import (
    DicomPeer,
    DicomWebServer,
    Tls,
    check_protection,
    is_loopback,
    parse_host_port,
)
from DSAReconLib.dicom.network.transfer import StoredInstance, checked_uid
from DSAReconLib.errors import ConfigError, NetworkError

SECRET = "hunter2"


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "pacs.txt"
    path.write_text(f"# hospital\nuser = nurse\npassword = {SECRET} = x\n\n")
    path.chmod(0o600)
    return path


def test_credentials_come_from_the_environment():
    found = read_credentials(environment={"DSARECON_PACS_USER": "nurse", "DSARECON_PACS_PASSWORD": SECRET})
    assert found == Credentials("nurse", SECRET)
    assert read_credentials(environment={"DSARECON_PACS_TOKEN": SECRET}) == Credentials(token=SECRET)
    assert read_credentials(environment={}) is None


def test_credentials_come_from_a_private_file_that_is_named_or_in_the_environment(secret_file):
    expected = Credentials("nurse", f"{SECRET} = x")
    assert read_credentials(secret_file, {}) == expected
    assert read_credentials(environment={"DSARECON_PACS_CREDENTIALS": str(secret_file)}) == expected


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_file_that_others_may_read_is_refused(secret_file, mode):
    secret_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:03o}, expected 600"):
        read_credentials(secret_file, {})


@pytest.mark.parametrize(
    "text", [f"{SECRET}\n", f"pass = {SECRET}", f"password = {SECRET}", f"user = a\ntoken = {SECRET}", ""]
)
def test_unusable_file_is_explained_without_its_content(secret_file, text):
    secret_file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_credentials(secret_file, {})
    assert SECRET not in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.txt cannot be read"):
        read_credentials(tmp_path / "none.txt", {})


@pytest.mark.parametrize("token", ["x\r\nHost: elsewhere", "schlüssel"])
def test_token_cannot_smuggle_a_header_or_break_one(token):
    with pytest.raises(ConfigError) as error:
        read_credentials(environment={"DSARECON_PACS_TOKEN": token})
    assert token not in str(error.value)


def test_text_of_credentials_shows_no_secret():
    text = repr(DicomWebServer("https://pacs", Credentials("nurse", SECRET))) + repr(Credentials(token=SECRET))
    assert SECRET not in text


@pytest.mark.parametrize(
    "url",
    ["pacs.example", "ftp://pacs", "https://", "https://pacs:x/", f"https://nurse:{SECRET}@pacs/", "http://p/?a=1"],
)
def test_unusable_address_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError) as error:
        DicomWebServer(url)
    assert SECRET not in str(error.value)


def test_line_without_tls_stays_on_this_machine():
    elsewhere = DicomWebServer("http://pacs.example/dicom-web", Credentials("nurse", SECRET))
    for server in (elsewhere, DicomPeer("pacs.example", 104)):
        with pytest.raises(ConfigError, match="would not be encrypted"):
            check_protection(server, insecure=False)
        assert "not encrypted: patient data" in check_protection(server, insecure=True)
    assert "and password can be read" in check_protection(elsewhere, insecure=True)
    for server in (
        DicomWebServer("http://localhost:8042"),
        DicomWebServer("http://[::1]:8042/d"),
        DicomPeer("127.0.0.1", 4242),
        DicomWebServer("https://pacs.example/d"),
        DicomPeer("pacs.example", 2762, tls=Tls()),
    ):
        assert check_protection(server, insecure=False) == ""


@pytest.mark.parametrize("host", ["localhost.example", "127.0.0.1.example", "10.0.0.1", "0.0.0.0", "::"])
def test_what_only_looks_like_loopback_is_not(host):
    assert not is_loopback(host)


def test_host_and_port_are_told_apart():
    assert parse_host_port("pacs.example:11112") == ("pacs.example", 11112)
    assert parse_host_port("[::1]:104") == ("::1", 104)
    for text in ("pacs", "pacs:", ":104", "a:b", "::1:104", "http://pacs:104"):
        with pytest.raises(ConfigError):
            parse_host_port(text)


@pytest.mark.parametrize("title", ["", "   ", "A" * 17, "A\\B", "ÄRZTE", "A\n"])
def test_impossible_application_entity_title_is_refused(title):
    with pytest.raises(ConfigError):
        DicomPeer("127.0.0.1", 104, called_aet=title)


def test_client_key_must_be_private_and_complete(tmp_path):
    certificate, key = make_certificate(tmp_path, "client")
    Tls(certificate=certificate, key=key).context()
    with pytest.raises(ConfigError, match="without a certificate"):
        Tls(key=key)
    with pytest.raises(ConfigError, match="cannot be used"):
        Tls(ca_file=key).context()
    if os.name == "posix":
        key.chmod(0o644)
        with pytest.raises(ConfigError, match="may be read by other users"):
            Tls(certificate=certificate, key=key)


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.", "1..2", "a", "", "1" * 65, "1.2\n"])
def test_what_is_no_uid_never_becomes_a_file_name(uid):
    with pytest.raises(NetworkError):
        StoredInstance("1.2", "1.3", uid)
    with pytest.raises(ConfigError):
        checked_uid(uid, "--study")
