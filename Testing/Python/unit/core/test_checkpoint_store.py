"""The checkpoint folder of one job."""

from __future__ import annotations

import numpy as np
import pytest

from DSAReconLib.checkpoint import CheckpointStore
from DSAReconLib.errors import ResourceError


def test_state_comes_back_as_it_was_saved(tmp_path):
    store = CheckpointStore(tmp_path / "job")
    store.save(step=7, volume=np.arange(6, dtype=np.float32).reshape(2, 3))
    state = CheckpointStore(tmp_path / "job").load()
    assert int(state["step"]) == 7
    np.testing.assert_array_equal(state["volume"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_nothing_saved_means_no_state(tmp_path):
    assert CheckpointStore(tmp_path / "job").load() is None


def test_a_write_that_was_cut_off_leaves_the_previous_state(tmp_path):
    store = CheckpointStore(tmp_path / "job")
    store.save(step=1)
    (tmp_path / "job" / "state.npz.partial").write_bytes(b"half a file")
    assert int(store.load()["step"]) == 1


def test_a_damaged_state_counts_as_none(tmp_path):
    store = CheckpointStore(tmp_path / "job")
    store.save(step=1)
    (tmp_path / "job" / "state.npz").write_bytes(b"PK\x03\x04 damaged")
    assert store.load() is None


def test_a_folder_that_cannot_be_written_is_a_resource_error(tmp_path):
    (tmp_path / "job").write_text("a file where the folder should be")
    with pytest.raises(ResourceError, match="checkpoint"):
        CheckpointStore(tmp_path / "job").save(step=1)


def test_saving_is_due_after_the_interval(tmp_path):
    assert CheckpointStore(tmp_path, interval_s=0.0).due()
    assert not CheckpointStore(tmp_path, interval_s=1e6).due()
