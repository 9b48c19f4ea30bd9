"""Methods that only tests know: quick, slow, deaf to cancelling, or failing in a chosen way."""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
import types
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DSAReconLib.methods.parameters import parameter
from DSAReconLib.methods.registry import METHODS, MethodEntry
from DSAReconLib.reconstruction import DynamicVolume, Reconstruction, TemporalBasis

NAME = "double"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the double shall do."""

    steps: int = parameter(5, "steps of the iteration")
    step_s: float = parameter(0.0, "duration of a step", unit="s")
    seed: int = parameter(0, "seed")
    behavior: str = parameter(
        "listen", "see _act", choices=("listen", "deaf", "crash", "memory", "cuda_memory", "package")
    )


def reconstruct(angiogram, grid, config, *, device, progress, checkpoint=None):
    """An iteration whose result depends on every step, so that a wrongly resumed one differs."""
    state = (checkpoint.load() if checkpoint else None) or {"step": np.array(0), "values": np.zeros(8)}
    step, values = int(state["step"]), state["values"]
    for number in range(step, config.steps):
        values = 0.9 * values + np.random.default_rng([config.seed, number]).random(8)
        time.sleep(config.step_s)
        _act(config.behavior, progress)
        progress.report("fit", (number + 1) / config.steps, metrics={"loss": 1.0 / (number + 1)})
        progress.preview(np.zeros(grid.shape_zyx, np.float32))
        if checkpoint:
            checkpoint.save(step=np.array(number + 1), values=values)
    support = np.arange(8, dtype=np.int64) + grid.num_voxels // 2
    coefficients = np.stack([np.zeros(8), 0.01 * values, 0.005 * values]).astype(np.float32)
    basis = TemporalBasis.hats([0.0, angiogram.duration_s / 2, angiogram.duration_s])
    return Reconstruction(
        DynamicVolume(grid, coefficients, basis, support),
        surface_threshold=0.01,
        warnings=(("double.warning", "This is a double."),),
        facts={"start_step": step},
    )


def install() -> None:
    """Make the double known to the registry of this process."""
    entry = MethodEntry(NAME, "Double", "A method for tests.")
    METHODS[NAME] = entry
    for part, content in (("config", {"Config": Config, "PRESETS": {"fast": {}, "balanced": {}}}), ("reconstruct", {})):
        module = types.ModuleType(f"DSAReconLib.methods.{NAME}.{part}")
        vars(module).update(content or {"reconstruct": reconstruct})
        sys.modules[module.__name__] = module
    sys.modules[f"DSAReconLib.methods.{NAME}"] = types.ModuleType(f"DSAReconLib.methods.{NAME}")


@contextmanager
def in_workers():
    """The double is known here and in the child processes that jobs run in."""
    from DSAReconLib.jobs import child

    here = Path(__file__).resolve()
    paths = (str(here.parents[3]), str(here.parents[1]))
    former = child.WorkerClient
    child.WorkerClient = functools.partial(former, on_path=paths, module="helpers.worker_with_doubles")
    install()
    try:
        yield
    finally:
        METHODS.pop(NAME)
        child.WorkerClient = former


def _act(behavior, progress):
    if behavior == "crash":
        raise KeyError("a defect")
    if behavior == "memory":
        raise MemoryError
    if behavior == "cuda_memory":
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
    if behavior == "package":
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    if behavior != "deaf":
        progress.check_cancelled()


def double_job(case, out, **changes):
    """A job that runs the double on the case in a folder."""
    from DSAReconLib.jobs.job import ReconstructionJob

    values = {
        "paths": (str(case),),
        "out": str(out),
        "method": NAME,
        "size": 16,
        "registration": "none",
        "report": False,
    }
    overrides = {name: changes.pop(name) for name in [f.name for f in dataclasses.fields(Config)] if name in changes}
    return ReconstructionJob(**{**values, **changes}, overrides=overrides)
