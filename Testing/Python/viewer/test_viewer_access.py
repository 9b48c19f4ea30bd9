"""Who may talk to the viewer, and how it ends."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys

import pytest
from helpers.requires import requires_package
from helpers.viewer_process import ROOT, ViewerProcess, wait_for

pytestmark = [pytest.mark.browser, requires_package("psutil")]

_PATHS = ("/", "/index.html", "/ws", "/download/3d-view.png", "/paraview/", "/vue.global.js")


def ask(viewer, path, *, method="GET", **headers):
    """Status, headers and body of a raw HTTP request."""
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize("query", ["", "?secret=wslink-secret", "?secret=v00000000000000000000000000000000"])
def test_nothing_is_given_without_the_right_token(viewer, path, query):
    method = "POST" if path == "/paraview/" else "GET"
    status, headers, body = ask(viewer, path + query, method=method)
    assert status == 403
    assert "Set-Cookie" not in headers
    assert len(body) < 100


def test_token_opens_the_page_and_is_kept_in_a_cookie_that_scripts_cannot_read(viewer):
    status, headers, _ = ask(viewer, f"/index.html?secret={viewer.token}")
    assert status == 200
    assert viewer.token in headers["Set-Cookie"]
    assert "HttpOnly" in headers["Set-Cookie"]
    assert "SameSite=Strict" in headers["Set-Cookie"]
    assert "default-src 'self'" in headers["Content-Security-Policy"]

    cookie = headers["Set-Cookie"].split(";")[0]
    assert ask(viewer, "/download/3d-view.png", Cookie=cookie)[2][:4] == b"\x89PNG"


def test_right_token_for_another_host_or_from_another_page_is_refused(viewer):
    path = f"/index.html?secret={viewer.token}"
    assert ask(viewer, path, Host=f"evil.example:{viewer.port}")[0] == 403
    assert ask(viewer, path, Origin="http://evil.example")[0] == 403
    assert ask(viewer, path, Origin=f"http://127.0.0.1:{viewer.port + 1}")[0] == 403
    assert ask(viewer, path, Origin=f"http://127.0.0.1:{viewer.port}")[0] == 200


@pytest.mark.parametrize("path", ["/download/../run.json", "/download/nothing.png", "/..%2f..%2fetc/passwd"])
def test_other_files_of_the_machine_are_not_served(viewer, path):
    assert ask(viewer, f"{path}?secret={viewer.token}")[0] in (403, 404)


def test_websocket_needs_the_token_for_its_handshake_and_again_inside(viewer):
    aiohttp, msgpack = pytest.importorskip("aiohttp"), pytest.importorskip("msgpack")
    from wslink.chunking import UnChunker, generate_chunks

    async def hello(query, secret):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{viewer.port}/ws{query}") as socket_,
        ):
            for number, (method, args) in enumerate([("wslink.hello", [{"secret": secret}]), ("trame.state.get", [])]):
                prefix = "system" if number == 0 else "rpc"
                message = {"wslink": "1.0", "id": f"{prefix}:c0:{number}", "method": method, "args": args, "kwargs": {}}
                for chunk in generate_chunks(msgpack.packb(message), 1 << 20):
                    await socket_.send_bytes(chunk)
            unchunker, answers = UnChunker(), []
            unchunker.set_max_message_size(1 << 28)
            while len(answers) < 2:
                answer = unchunker.process_chunk((await asyncio.wait_for(socket_.receive(), 30)).data)
                if answer is not None and str(answer.get("id", "")).startswith(("system", "rpc")):
                    answers.append(answer)
            return answers

    for query in ("", "?secret=wrong"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            asyncio.run(hello(query, viewer.token))
        assert refused.value.status == 403
    right = f"?secret={viewer.token}"
    assert all("error" in answer for answer in asyncio.run(hello(right, "wslink-secret")))
    assert all("result" in answer for answer in asyncio.run(hello(right, viewer.token)))


def test_viewer_listens_on_loopback_only(viewer):
    import psutil

    process = psutil.Process(viewer.process.pid)
    family = [process, *process.children(recursive=True)]
    listening = [c for member in family for c in member.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_terminal_names_no_folder_and_no_patient(viewer, viewer_results):
    assert "secretplace" not in viewer.output
    assert "Traceback" not in viewer.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_viewer_and_its_render_servers(viewer_results, number):
    import psutil

    process = ViewerProcess(viewer_results[0])
    assert process.address
    children = psutil.Process(process.process.pid).children(recursive=True)
    assert children

    assert process.stop(number) == 0
    wait_for(lambda: not any(child.is_running() for child in children))
    assert "Traceback" not in process.output
    with socket.socket() as attempt:
        assert attempt.connect_ex(("127.0.0.1", process.port)) != 0


def dsarecon(*arguments, **environment):
    """Exit code and stderr of a command that must end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "DSAReconLib", "view", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ | environment,
        check=False,
    )
    return done.returncode, done.stderr


def test_folder_that_is_no_result_is_refused_with_a_hint(tmp_path):
    code, words = dsarecon(tmp_path)
    assert code == 1
    assert "not a result folder" in words
    assert "hint: " in words
    assert "Traceback" not in words


def test_taken_port_and_missing_source_are_refused(viewer, viewer_results):
    code, words = dsarecon(viewer_results[0], "--no-browser", "--port", viewer.port)
    assert code == 1
    assert f"Port {viewer.port}" in words
    assert "--port" in words
    code, words = dsarecon(viewer_results[0], "--no-browser", "--source", "nowhere.dcm")
    assert code == 1
    assert "nowhere.dcm does not exist" in words


def test_missing_package_is_named_with_the_line_that_installs_it(viewer_results, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['trame_slicer'] = None")
    code, words = dsarecon(viewer_results[0], PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert code == 1
    assert "trame_slicer" in words
    assert "pip install dsarecon[viewer]" in words
