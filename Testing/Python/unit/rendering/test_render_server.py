"""The render server by its lines, and what it is made of."""

import json
import queue
import subprocess
import sys
import threading

import numpy as np
import pytest
from helpers.novel_views import GEOMETRY, ROOT, TIMES_S, spiral_gaussians, write_spiral_result

from DSAReconLib.errors import ConfigError, DSAReconError, ResourceError
from DSAReconLib.io.event_lines import decode_event
from DSAReconLib.reconstruction import RadiativeGaussians, TemporalBasis
from DSAReconLib.rendering.frame_memory import FRAME_SLOTS, FrameMemory
from DSAReconLib.rendering.pose import pose_from_angles, pose_of_frame
from DSAReconLib.rendering.server import Inbox
from DSAReconLib.rendering.server_protocol import (
    RenderRequest,
    decode_command,
    encode_request,
    encode_taken,
    request_of,
)
from DSAReconLib.rendering.splat_session import SplatSession
from DSAReconLib.rendering.views import render_line_integrals

MAX_PIXELS = 64 * 64
POSE = pose_from_angles(GEOMETRY, 10.0, 5.0, (32, 40))


class RawServer:
    """A server that is spoken to in lines."""

    def __init__(self, folder, *options, handle=None):
        self.memory = FrameMemory.create(MAX_PIXELS)
        command = [sys.executable, "-u", "-m", "DSAReconLib.rendering.server", str(folder), "--device", "cpu"]
        command += ["--frames", handle or self.memory.handle, "--max-pixels", str(MAX_PIXELS), *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            pass_fds=self.memory.descriptors,
        )  # fmt: skip
        self.events = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.events.put(decode_event(line))

    def say(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def hear(self, timeout_s=60):
        return self.events.get(timeout=timeout_s)

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.memory.close()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return write_spiral_result(tmp_path_factory.mktemp("novel") / "result")


@pytest.fixture(scope="module")
def server(result):
    server = RawServer(result)
    server.ready = server.hear(120)
    yield server
    server.end()


def request_line(number, pose=POSE, **changes):
    command = json.loads(encode_request(RenderRequest(number, pose, 2.0)))
    return json.dumps(command | changes) + "\n"


def test_ready_tells_what_a_display_needs(server):
    ready = server.ready
    assert (ready["event"], ready["gaussians"], ready["device"], ready["protocol"]) == ("ready", 300, "cpu", 1)
    np.testing.assert_allclose(ready["times_s"], TIMES_S)
    brightest = render_line_integrals(spiral_gaussians(), GEOMETRY, TIMES_S).max()
    assert ready["value_range"][0] == 0
    assert 0.4 * brightest < ready["value_range"][1] < 1.5 * brightest
    np.testing.assert_allclose(ready["bounds_mm"][1][2], spiral_gaussians().means_mm[:, 2].max())


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("not json\n", "JSON"),
        ("[1, 2]\n", "cmd"),
        ('{"cmd": "dance"}\n', "dance"),
        ('{"cmd": "taken", "slot": "all"}\n', "buffer"),
        (request_line(5, pose=pose_of_frame(GEOMETRY, 0, (65, 64))), "too large"),
        (request_line(6, pose=pose_of_frame(GEOMETRY, 0, (10**6, 10**6))), "too large"),
        (request_line(7, time_s="noon"), "time_s"),
        (request_line(8, time_s=float("inf")), "finite"),
        (request_line(9).replace('"source_mm": [', '"source_mm": ["a", '), "pose"),
        (request_line(10).replace('"pose"', '"posture"'), "pose"),
        ("[" * 100_000 + "\n", "JSON"),
    ],
)
def test_bad_lines_are_refused_and_the_next_request_is_answered(server, line, word):
    server.say(line)
    refused = server.hear()
    assert refused["event"] == "refused"
    assert word in refused["message"]
    server.say(request_line(20))
    frame = server.hear()
    assert (frame["event"], frame["id"]) == ("frame", 20)
    server.say(encode_taken(frame["slot"]))


def test_a_buffer_is_not_written_before_it_was_taken(server):
    pictures = {}
    for number in range(100, 100 + FRAME_SLOTS):
        server.say(request_line(number))
        slot = server.hear()["slot"]
        pictures[slot] = server.memory.picture(slot, POSE.shape).copy()
    server.say(request_line(200, time_s=0.1))
    server.say(request_line(201, time_s=0.2))
    with pytest.raises(queue.Empty):
        server.hear(0.5)
    for slot, picture in pictures.items():
        np.testing.assert_array_equal(server.memory.picture(slot, POSE.shape), picture)
    server.say(encode_taken(1))
    frame = server.hear()
    assert (frame["id"], frame["slot"]) == (201, 1)
    for slot in range(FRAME_SLOTS):
        server.say(encode_taken(slot))


def test_only_the_newest_of_several_waiting_requests_is_rendered():
    refused = []
    inbox = Inbox(refused.append, MAX_PIXELS)
    inbox.read([request_line(1), request_line(2), request_line(3)])
    assert inbox.next()[0].number == 3
    assert not refused


@pytest.mark.parametrize(
    ("folder", "options", "handle", "word"),
    [
        ("nowhere", (), None, "not a result folder"),
        (None, (), "fd:999", "shared memory"),
        (None, (), "nonsense", "shared memory"),
        (None, ("--device", "tpu"), None, "device"),
    ],
)
def test_a_server_that_cannot_start_says_why(result, tmp_path, folder, options, handle, word):
    server = RawServer(tmp_path / folder if folder else result, *options, handle=handle)
    failed = server.hear()
    assert failed["event"] == "failed"
    assert word in failed["message"]
    assert server.process.wait(10) == 1
    server.memory.close()


def test_damaged_gaussians_are_a_failure_with_a_sentence(result, tmp_path):
    for path in result.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "gaussians.ply").write_bytes(b"ply\nend_header\n")
    server = RawServer(tmp_path)
    assert "gaussians.ply" in server.hear()["message"]
    assert server.process.wait(10) == 1
    server.memory.close()


def test_session_gives_the_pictures_of_record():
    gaussians = spiral_gaussians()
    session = SplatSession(gaussians)
    for time in (0.5, 2.0, 2.0, 3.7):
        expected = render_line_integrals(gaussians, POSE.geometry(), [time])[0]
        picture = session.render(POSE, time)
        assert np.linalg.norm(picture - expected) < 1e-3 * np.linalg.norm(expected)


def test_session_computes_amplitudes_once_per_time(monkeypatch):
    calls = []
    plain = RadiativeGaussians.amplitudes
    monkeypatch.setattr(RadiativeGaussians, "amplitudes", lambda self, times: calls.append(times) or plain(self, times))
    session = SplatSession(spiral_gaussians())
    for angle in (0.0, 10.0, 20.0):
        session.render(pose_from_angles(GEOMETRY, angle, 0.0), 1.0)
    session.render(POSE, 1.5)
    assert calls == [1.0, 1.5]


def test_session_without_gaussians_renders_nothing():
    none = np.zeros((0, 3), np.float32)
    empty = RadiativeGaussians(none, none, np.zeros((0, 4), np.float32), np.zeros((1, 0), np.float32),
                               TemporalBasis.constant())  # fmt: skip
    session = SplatSession(empty)
    assert not session.render(POSE, 0.0).any()
    assert session.bounds_mm() == ([0.0] * 3, [0.0] * 3)
    low, high = session.value_range(GEOMETRY, TIMES_S)
    assert low < high


def test_requests_survive_the_line():
    request = RenderRequest(7, POSE, 1.25)
    assert request_of(decode_command(encode_request(request)), MAX_PIXELS) == request
    with pytest.raises(DSAReconError, match="too large") as refusal:
        request_of(decode_command(encode_request(request)), 32 * 40 - 1)
    assert refusal.value.code == "render.size"
    with pytest.raises(ConfigError, match="id"):
        request_of(decode_command(encode_request(request).replace('"id"', '"number"')), MAX_PIXELS)


def test_memory_slots_do_not_overlap_and_have_ends():
    memory = FrameMemory.create(12)
    memory.picture(0, (3, 4))[:] = 1
    memory.picture(1, (3, 4))[:] = 2
    again = FrameMemory.attach(memory.handle, 12)
    assert (again.picture(0, (3, 4)) == 1).all()
    assert (again.picture(1, (2, 3)) == 2).all()
    for slot, shape in ((2, (3, 4)), (-1, (3, 4)), (0, (13, 1)), (0, (0, 4))):
        with pytest.raises(ValueError, match="slot"):
            memory.picture(slot, shape)
    with pytest.raises(ResourceError, match="another size"):
        FrameMemory.attach(memory.handle, 13)
    memory.close()
    memory.close()
