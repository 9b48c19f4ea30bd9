"""The client of the render server, with a real server."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers.novel_views import (
    GEOMETRY,
    ROOT,
    TIMES_S,
    is_running,
    spiral_gaussians,
    started_client,
    wait_for,
    write_spiral_result,
)

from DSAReconLib.jobs.frame_comparison import compare_with_acquired
from DSAReconLib.jobs.render_client import RenderClient, RenderServerError
from DSAReconLib.rendering.pose import pose_from_angles, pose_from_camera, pose_of_frame, resized
from DSAReconLib.rendering.views import render_line_integrals

POSE = pose_from_angles(GEOMETRY, 10.0, 5.0, (96, 128))
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc and /dev/shm")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return write_spiral_result(tmp_path_factory.mktemp("novel") / "result")


@pytest.fixture(scope="module")
def client(result):
    with started_client(result) as client:
        yield client


def segments():
    return set(os.listdir("/dev/shm"))


@pytest.mark.parametrize(
    "pose",
    [
        POSE,
        pose_of_frame(GEOMETRY, 3),
        pose_from_angles(GEOMETRY, -75.0, 30.0, (200, 64)),
        pose_from_camera([90, -200, 60], [0, 0, 0], [0, 0, 1], 30.0, (80, 120)),
    ],
    ids=["angles", "frame", "tall", "camera"],
)
def test_pictures_are_those_of_record(client, pose):
    frame = client.render(pose, 2.2)
    expected = render_line_integrals(spiral_gaussians(), pose.geometry(), [2.2])[0]
    assert frame.line_integrals.shape == pose.shape
    assert expected.max() > 0.1
    assert np.linalg.norm(frame.line_integrals - expected) < 1e-3 * np.linalg.norm(expected)
    assert np.abs(frame.line_integrals - expected).max() < 5e-3 * expected.max()
    assert frame.time_s == 2.2
    assert frame.render_ms > 0


def test_time_alters_the_picture(client):
    early, late = client.render(POSE, 0.5).line_integrals, client.render(POSE, 3.5).line_integrals
    assert late.sum() > 2 * early.sum()


def test_a_burst_of_requests_gives_growing_numbers_and_the_last_picture(client):
    poses = [pose_from_angles(GEOMETRY, angle, 0.0, (128, 128)) for angle in np.linspace(-50, 50, 200)]
    frames = []

    def fetch():
        frames.append(client.newest())

    client.on_frame = fetch
    try:
        wanted = [client.request(pose, 2.0) for pose in poses]
        assert wait_for(lambda: frames and frames[-1].request_id == wanted[-1])
    finally:
        client.on_frame = None
    assert wanted == list(range(wanted[0], wanted[0] + 200))
    numbers = [frame.request_id for frame in frames]
    assert numbers == sorted(set(numbers))
    for frame in frames:
        expected = client.render(poses[frame.request_id - wanted[0]], 2.0)
        np.testing.assert_allclose(frame.line_integrals, expected.line_integrals, rtol=1e-4, atol=1e-6)


def test_newest_gives_each_picture_once(client):
    client.request(POSE, 1.0)
    assert wait_for(lambda: client._frame is not None and client._frame.request_id == client._last_id)
    frame = client.newest()
    assert frame is not None
    assert client.newest() is None
    frame.line_integrals[:] = -1
    assert client.render(POSE, 1.0).line_integrals.min() >= 0


def test_an_exception_in_the_callback_stays_there(client):
    client.on_frame = lambda: 1 / 0
    try:
        client.render(POSE, 1.0)
        assert wait_for(lambda: any("ZeroDivisionError" in line for line in client.log_lines))
    finally:
        client.on_frame = None
    assert client.render(POSE, 1.0).line_integrals.any()


def test_too_many_pixels_are_refused_at_once(client):
    with pytest.raises(ValueError, match="pixels"):
        client.request(resized(POSE, (1025, 1024)), 1.0)


def test_a_refused_request_is_a_problem_until_the_next_one(client):
    with pytest.raises(RenderServerError, match="finite"):
        client.render(POSE, float("inf"))
    assert "finite" in client.problem()
    assert not client.ended
    client.render(POSE, 1.0)
    assert client.problem() is None


def test_a_replaced_request_is_told_to_who_waits_for_it(client):
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            client.request(POSE, 0.3)
            time.sleep(0.001)

    def render_for_ever():
        while True:
            client.render(resized(POSE, (512, 512)), 2.0)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        with pytest.raises(RenderServerError) as refusal:
            render_for_ever()
    finally:
        stop.set()
        thread.join()
    assert refusal.value.code == "render.replaced"


def test_acquired_frame_and_novel_view_have_one_shape_and_scale(client):
    acquired = render_line_integrals(spiral_gaussians(), GEOMETRY, TIMES_S) + 0.01
    comparison = compare_with_acquired(client, GEOMETRY, TIMES_S, 5, acquired[5])
    assert comparison.rendered.shape == acquired[5].shape
    np.testing.assert_array_equal(comparison.acquired, acquired[5])
    np.testing.assert_allclose(comparison.difference, 0.01, atol=2e-3 * acquired.max())
    binned = acquired[5].reshape(24, 2, 28, 2).mean((1, 3))
    assert np.abs(compare_with_acquired(client, GEOMETRY, TIMES_S, 5, binned).difference).max() < 0.1 * acquired.max()
    with pytest.raises(IndexError):
        compare_with_acquired(client, GEOMETRY, TIMES_S, 99, acquired[5])


@linux
def test_a_killed_server_is_a_sentence(result):
    before = segments()
    client = started_client(result)
    os.kill(client.pid, signal.SIGKILL)
    assert wait_for(lambda: client.problem() is not None, 5)
    assert "ended unexpectedly" in client.problem()
    assert client.ended
    client.request(POSE, 1.0)
    assert client.newest() is None
    with pytest.raises(RenderServerError, match="ended unexpectedly"):
        client.render(POSE, 1.0)
    client.close()
    assert segments() == before


@linux
@pytest.mark.parametrize("waits", ["until ready", "not at all"])
def test_the_server_of_a_killed_parent_ends_and_leaves_nothing(result, waits):
    before = segments()
    code = "import sys, time, pathlib; from DSAReconLib.jobs.render_client import RenderClient\n"
    code += f"client = RenderClient(pathlib.Path({str(result)!r}), device='cpu')\n"
    code += "client.wait_until_ready()\n" if waits == "until ready" else ""
    code += "print(client.pid, flush=True); time.sleep(99)"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    server = int(parent.stdout.readline())
    assert is_running(server)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not is_running(server), 2.0)
    assert segments() == before


@linux
def test_the_server_ends_with_its_parent_although_a_fork_of_it_lives_on(result):
    code = "import os, time, pathlib; from DSAReconLib.jobs.render_client import RenderClient\n"
    code += f"client = RenderClient(pathlib.Path({str(result)!r}), device='cpu')\n"
    code += "client.wait_until_ready()\nfork = os.fork()\nif fork: print(client.pid, fork, flush=True)\ntime.sleep(30)"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    server, fork = (int(number) for number in parent.stdout.readline().split())
    parent.kill()
    parent.wait()
    try:
        assert wait_for(lambda: not is_running(server), 2.0)
        assert is_running(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


@linux
def test_asking_a_server_that_hangs_does_not_block(result):
    client = started_client(result)
    os.kill(client.pid, signal.SIGSTOP)
    start = time.perf_counter()
    for _ in range(2000):
        client.request(POSE, 1.0)
    assert time.perf_counter() - start < 1.0
    with pytest.raises(RenderServerError, match="no picture within"):
        client.render(POSE, 1.0, timeout_s=0.2)
    start = time.perf_counter()
    client.close()
    assert time.perf_counter() - start < 4
    assert not is_running(client.pid)


def test_closing_ends_the_server_and_can_be_repeated(result):
    client = started_client(result)
    client.close()
    client.close()
    assert client._process.returncode == 0
    assert client.ended
    assert client.problem() is None
    client.request(POSE, 1.0)
    with pytest.raises(RenderServerError, match="closed"):
        client.render(POSE, 1.0)


def test_closing_during_the_start_works_and_a_new_client_too(result):
    RenderClient(result, on_path=(str(ROOT),), device="cpu").close()
    with started_client(result) as client:
        assert client.render(POSE, 1.0).line_integrals.any()


def test_a_folder_without_a_result_is_said_in_a_sentence(tmp_path):
    with RenderClient(tmp_path, on_path=(str(ROOT),), device="cpu") as client:
        with pytest.raises(RenderServerError, match="not a result folder"):
            client.wait_until_ready(60)
        assert "not a result folder" in client.problem()


def test_an_interpreter_that_is_missing_is_said_in_a_sentence(tmp_path):
    with pytest.raises(RenderServerError, match="cannot be started"):
        RenderClient(tmp_path, python=str(tmp_path / "python"))


@linux
def test_clients_leave_no_open_files_and_no_threads(result):
    def held():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    started_client(result).close()
    before = held()
    for _ in range(3):
        RenderClient(result, on_path=(str(ROOT),), device="cpu").close()
    assert wait_for(lambda: held() == before, 5), (before, held())


@linux
def test_the_child_gets_the_library_path_and_its_log_and_exit_code_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/before")
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho path $PYTHONPATH >&2\necho arguments $@\nexit 3\n")
    interpreter.chmod(0o755)
    with RenderClient(tmp_path, python=str(interpreter), on_path=("/first", "/second")) as client:
        assert wait_for(lambda: client.ended and len(client.log_lines) == 2)
        assert "exit code 3" in client.problem()
        assert "path /first:/second:/before" in client.log_lines
        assert any("-m DSAReconLib.rendering.server" in line for line in client.log_lines)
