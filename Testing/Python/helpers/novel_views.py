"""A small result folder to render, and a client of its render server."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from DSAReconLib.geometry import ConeBeamGeometry, VolumeGrid
from DSAReconLib.io.result_folder import write_result
from DSAReconLib.jobs.render_client import RenderClient
from DSAReconLib.reconstruction import DynamicVolume, RadiativeGaussians, Reconstruction, TemporalBasis

ROOT = Path(__file__).resolve().parents[3]
TIMES_S = np.linspace(0.0, 4.0, 9)
GEOMETRY = ConeBeamGeometry.from_angles(
    np.linspace(-60, 60, 9), np.linspace(-10, 20, 9), sod_mm=750.0, sdd_mm=1200.0,
    detector_shape=(48, 56), detector_spacing_mm=(1.6, 1.5), principal_point_px=(22.0, 29.5),
)  # fmt: skip


def spiral_gaussians(count=300):
    """A vessel on a spiral that fills from one end to the other within 4 s."""
    turn = np.linspace(0, 4 * np.pi, count)
    means = np.stack([12 * np.cos(turn), 9 * np.sin(turn), 2.4 * turn - 15], -1)
    knots = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    arrival = np.linspace(0, 3, count)
    coefficients = 0.04 * np.clip(knots[:, None] - arrival, 0, 1) + 0.002
    rng = np.random.default_rng(3)
    return RadiativeGaussians(
        means_mm=means.astype(np.float32),
        scales_mm=rng.uniform(0.4, 1.2, (count, 3)).astype(np.float32),
        quats_wxyz=rng.normal(size=(count, 4)).astype(np.float32),
        coefficients=coefficients.astype(np.float32),
        basis=TemporalBasis.hats(knots),
    )


def write_spiral_result(folder):
    """Result folder whose Gaussians are :func:`spiral_gaussians`."""
    gaussians = spiral_gaussians()
    grid = VolumeGrid.centered(24, 2.0)
    support = np.array([6000, 6001, 6025])
    volume = DynamicVolume(grid, np.full((5, 3), 0.02, np.float32), gaussians.basis, support)
    return write_result(
        Path(folder),
        Reconstruction(volume, 0.01, gaussians=gaussians, native="gaussians"),
        record={"selected_views": [0, 4, 8], "heldout_views": [2]},
        geometry=GEOMETRY,
        times_s=TIMES_S,
    )


def started_client(folder, **options):
    """Client of a server on the CPU that is ready."""
    client = RenderClient(folder, on_path=(str(ROOT),), device="cpu", **options)
    client.wait_until_ready(120)
    return client


def wait_for(condition, timeout_s=20.0):
    """Whether ``condition()`` became true in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def is_running(pid):
    """Whether a process exists and is not a zombie (Linux)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
