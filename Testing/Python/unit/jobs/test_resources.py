"""Memory, devices, logs, checkpoints."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from DSAReconLib.errors import ConfigError, DependencyError, ResourceError
from DSAReconLib.jobs import resources
from DSAReconLib.jobs.log import JobLog, internal_error
from DSAReconLib.jobs.resources import (
    available_memory_bytes,
    memory_errors,
    peak_memory_mb,
    require_memory,
    resolve_device,
)
from DSAReconLib.jobs.resume import discard_checkpoint, has_state, open_checkpoint

IDENTITY = {"input": ["1.2.3"], "views": [0, 1], "config": {"seed": 0}}


def test_peak_memory_grows_with_a_large_array():
    before = peak_memory_mb()
    array = np.ones(40_000_000)  # 320 MB
    assert peak_memory_mb() >= max(before, array.nbytes / 1e6)


def test_peak_memory_of_a_child_is_its_own():
    array = np.ones(60_000_000)  # 480 MB, resident in the parent when the child starts
    code = "from DSAReconLib.jobs.resources import peak_memory_mb; print(peak_memory_mb())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(found.stdout) < array.nbytes / 1e6 / 2


def test_more_memory_than_the_machine_has_is_refused_before_it_is_touched():
    available = available_memory_bytes()
    assert available > 1e8
    require_memory(0.1 * available, "A small volume")
    with pytest.raises(ResourceError, match="A huge volume needs at least"):
        require_memory(10 * available, "A huge volume")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_running_out_of_memory_becomes_a_message_with_a_hint(error):
    with pytest.raises(ResourceError, match="does not suffice") as caught, memory_errors():
        raise error
    assert "--size" in caught.value.hint


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), memory_errors():
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", ""])
def test_unknown_devices_are_refused(name):
    with pytest.raises(ConfigError, match="device must be"):
        resolve_device(name)


def test_device_follows_from_what_is_there(monkeypatch):
    monkeypatch.setattr(resources, "_has_cuda_driver", lambda: False)
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"
    monkeypatch.setattr("DSAReconLib.kernels.backend.cuda_problem", lambda: "there is none")
    with pytest.raises(DependencyError, match="there is none"):
        resolve_device("cuda")
    monkeypatch.setattr(resources, "_has_cuda_driver", lambda: True)
    assert resolve_device("auto") == "cpu"
    monkeypatch.setattr("DSAReconLib.kernels.backend.cuda_problem", lambda: None)
    assert resolve_device("auto") == "cuda:0"


def test_log_holds_what_the_library_said_and_leaves_no_handler():
    library = logging.getLogger("DSAReconLib")
    before = (library.level, list(library.handlers))
    with JobLog() as log:
        logging.getLogger("DSAReconLib.somewhere").debug("a detail")
    logging.getLogger("DSAReconLib.somewhere").debug("too late")
    assert "a detail" in log.text()
    assert "too late" not in log.text()
    assert (library.level, list(library.handlers)) == before


@pytest.mark.parametrize("writable", [True, False])
def test_defects_leave_their_traceback_in_a_file_that_the_hint_names(tmp_path, writable):
    place = tmp_path / ("out.log" if writable else "missing/out.log")
    try:
        raise KeyError("defect")
    except KeyError as caught:
        error = internal_error(caught, "said before\n", place)
    path = next(word for word in error.hint.replace(";", " ").split() if word.endswith(".log"))
    with open(path) as file:
        text = file.read()
    assert "said before" in text
    assert "Traceback" in text
    assert "Traceback" not in error.message
    assert (path == str(place)) == writable


def test_resuming_finds_the_state_and_starting_anew_drops_it(tmp_path):
    folder = tmp_path / "out.checkpoint"
    open_checkpoint(folder, IDENTITY, resume=False).save(step=np.array(3))
    assert has_state(folder)
    assert open_checkpoint(folder, IDENTITY, resume=True).load()["step"] == 3
    assert open_checkpoint(folder, IDENTITY, resume=False).load() is None


def test_resuming_another_job_is_refused_naming_the_difference(tmp_path):
    folder = tmp_path / "out.checkpoint"
    open_checkpoint(folder, IDENTITY, resume=False).save(step=np.array(3))
    with pytest.raises(ConfigError, match="differs in views"):
        open_checkpoint(folder, IDENTITY | {"views": [0, 2]}, resume=True)
    assert has_state(folder)


def test_foreign_folder_is_not_discarded(tmp_path):
    folder = tmp_path / "out.checkpoint"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    discard_checkpoint(folder)
    assert (folder / "thesis.txt").exists()
    with pytest.raises(ResourceError):
        open_checkpoint(folder, IDENTITY, resume=False)
