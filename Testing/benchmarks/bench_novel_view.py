"""Time novel views from request to picture in the client: ``python Testing/benchmarks/bench_novel_view.py``.

A real render server is asked for poses of a turning C-arm. ``latency``: one request after
the other, from the request to the copied picture. ``frames/s``: the next request is made
when a picture arrives, so that asking, rendering and copying overlap, as in a view that is
dragged. ``server``: what the server says that it took. Vessel-sized random kernels as in
``bench_splat.py``, or the Gaussians of a result folder (``--result``). ``--kernels``
compares the kernel for one view with plain ``splat_xray`` and with the torch reference, in
processor time of one thread, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bench_splat import gaussians

from DSAReconLib.geometry import ConeBeamGeometry
from DSAReconLib.io.json_text import write_json
from DSAReconLib.io.ply import write_gaussians
from DSAReconLib.io.result_folder import open_result
from DSAReconLib.jobs.render_client import RenderClient, RenderedFrame
from DSAReconLib.reconstruction import RadiativeGaussians, TemporalBasis
from DSAReconLib.rendering.pose import ViewPose, pose_from_angles

ROOT = Path(__file__).resolve().parents[2]
TIMES_S = np.linspace(0.0, 4.0, 41)
GEOMETRY = ConeBeamGeometry.from_angles(
    np.linspace(-100, 100, 41), sod_mm=750.0, sdd_mm=1200.0, detector_shape=(512, 512), detector_spacing_mm=(0.55, 0.55)
)
REFERENCE_COUNT = 40  # the torch reference evaluates every pixel for every Gaussian: measured with few, scaled up


def random_model(count: int) -> RadiativeGaussians:
    """Random kernels with curves of a dozen temporal functions."""
    means, scales, quats, amplitudes = gaussians(count, 1)
    knots = np.linspace(0.0, 4.0, 12)
    curves = np.random.default_rng(1).uniform(0.3, 1.0, (len(knots), count))
    arrays = (np.asarray(value, np.float32) for value in (means, scales, quats, curves * amplitudes[0]))
    return RadiativeGaussians(*arrays, TemporalBasis.hats(knots))


def write_folder(folder: Path, count: int) -> Path:
    """What the render server reads of a result folder."""
    needed = {"schema_version": 1, "selected_views": [0], "heldout_views": [], "surface_threshold": 1.0}
    write_json(folder / "run.json", needed | {"native": "gaussians"})
    write_json(folder / "geometry.json", GEOMETRY.to_dict() | {"times_s": TIMES_S.tolist()})
    write_gaussians(folder / "gaussians.ply", random_model(count))
    return folder


def turning(side: int, steps: int, reference: ConeBeamGeometry) -> list[ViewPose]:
    """Poses of a drag, 1 degree each."""
    return [pose_from_angles(reference, -50 + step % 100, 10.0, (side, side)) for step in range(steps)]


def latencies_ms(client: RenderClient, poses: list[ViewPose]) -> list[float]:
    """From request to picture, one after the other."""
    result = []
    for pose in poses:
        start = time.perf_counter()
        client.render(pose, 2.0)
        result.append(1e3 * (time.perf_counter() - start))
    return result


def stream(client: RenderClient, poses: list[ViewPose]) -> tuple[float, list[RenderedFrame]]:
    """Frames per second, and the frames, while one request always waits."""
    waiting, frames, done = iter(poses), [], threading.Event()

    def arrived() -> None:
        frame = client.newest()
        if frame is not None:
            frames.append(frame)
        pose = next(waiting, None)
        if pose is None:
            done.set()
        else:
            client.request(pose, 2.0)

    client.on_frame = arrived
    start = time.perf_counter()
    client.request(next(waiting), 2.0)
    time.sleep(0.002)  # a second one waits behind it
    client.request(next(waiting), 2.0)
    done.wait(120)
    seconds = time.perf_counter() - start
    client.on_frame = None
    return len(frames) / seconds, frames


def bench_server(folder: Path, sides: list[int], steps: int, device: str) -> None:
    """Print one line per size."""
    start = time.perf_counter()
    geometry = open_result(folder).geometry
    with RenderClient(folder, on_path=(str(ROOT),), device=device) as client:
        info = client.wait_until_ready(300)
        print(f"{info['gaussians']} Gaussians on {info['device']}, ready after {time.perf_counter() - start:.1f} s")
        for side in sides:
            poses = turning(side, steps, geometry)
            latencies_ms(client, poses[:5])
            latency = latencies_ms(client, poses)
            rate, frames = stream(client, poses)
            server = float(np.median([frame.render_ms for frame in frames]))
            middle, slow = np.percentile(latency, [50, 95])
            print(
                f"{side:>5} x {side:<5} latency {middle:6.1f} ms (95 %: {slow:6.1f}), "
                f"{rate:6.1f} frames/s, server {server:5.1f} ms"
            )


def cpu_ms(function: Callable[[], object], repeats: int = 20) -> float:
    """Median processor time of a call, ms, after one that may compile."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times))


def bench_kernels(model: RadiativeGaussians, side: int) -> None:
    """Print processor time of one thread: single view, plain splat_xray, torch reference."""
    import numba
    import torch

    from DSAReconLib.kernels.splat import _splat_torch, splat_xray
    from DSAReconLib.rendering.splat_session import SplatSession

    numba.set_num_threads(1)
    torch.set_num_threads(1)
    session = SplatSession(model)
    pose = pose_from_angles(GEOMETRY, 20.0, 10.0, (side, side))
    arrays = model.means_mm, model.scales_mm, model.quats_wxyz, model.amplitudes(2.0)
    few = (*(array[:REFERENCE_COUNT] for array in arrays[:3]), arrays[3][:, :REFERENCE_COUNT])
    single = cpu_ms(lambda: session.render(pose, 2.0))
    plain = cpu_ms(lambda: splat_xray(*arrays, pose.geometry(), pixel_box=True))
    reference = cpu_ms(lambda: _splat_torch(few, pose.geometry(), 3.0, True, False, "cpu"), 2)
    reference *= len(model) / REFERENCE_COUNT
    print(
        f"{len(model)} Gaussians, {side} x {side}, one thread: {single:.1f} ms; splat_xray {plain:.1f} ms "
        f"(x {plain / single:.1f}); torch reference about {reference:.0f} ms (x {reference / single:.0f})"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--steps", type=int, default=100, help="pictures per measurement")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--result", type=Path, help="result folder instead of random kernels")
    parser.add_argument("--kernels", action="store_true", help="kernels only, in processor time")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if sys.platform != "win32" else ""
    print(f"{cores} cores{load}")
    if options.kernels:
        for count in options.counts:
            for side in options.sides:
                bench_kernels(random_model(count), side)
    elif options.result is not None:
        bench_server(options.result, options.sides, options.steps, options.device)
    else:
        for count in options.counts:
            with tempfile.TemporaryDirectory() as folder:
                bench_server(write_folder(Path(folder), count), options.sides, options.steps, options.device)


if __name__ == "__main__":
    main()
