"""Bolus transport along a vessel tree: iodine concentration over time at every node.

The standard model (``transit``) is a linear chain: c(x, t) is the injected concentration,
delayed by the arrival time and convolved with a gamma-variate kernel that widens on the
way; aneurysms, the nidus and veins mix exponentially. The other models break one of these
assumptions each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.reconstruction import arrival_times
from DSAReconLib.simulation.advection import advected_concentration
from DSAReconLib.simulation.trees import VesselKind, VesselTree

TIME_STEP_S = 0.005
"""Step of the fine time axis on which curves are computed, s."""

HIGHEST_FREQUENCY_HZ = 40.0
"""Above it the rise of the injection and the narrowest kernel leave less than 1e-5 of the bolus."""


@dataclass(frozen=True)
class Flow:
    """Blood flow and injection. Velocities and dispersion: part 3 of the DICOM notes.

    Parameters
    ----------
    model
        Name in :data:`FLOW_MODELS`.
    injection_start_s, injection_duration_s
        Contrast enters the root from ``injection_start_s`` (time since the first fill frame).
    injection_rise_s
        Time from 0 to full concentration at the catheter, s.
    concentration_mg_ml
        Iodine in the blood at the root during the injection.
    pulsatility
        Relative swing of the concentration with the heart beat (more blood, less contrast).
    heart_rate_hz
        Beats per second.
    velocity_mm_s, reference_radius_mm
        Velocity v = ``velocity_mm_s`` * r / ``reference_radius_mm`` ...
    velocity_limits_mm_s
        ... clipped to this range.
    dispersion_mean_s, dispersion_per_arrival
        Mean of the gamma-variate kernel = ``dispersion_mean_s`` + ``dispersion_per_arrival`` * arrival time.
    dispersion_alpha
        Exponent of the gamma-variate kernel t^alpha exp(-t / b).
    aneurysm_mixing_s, nidus_mixing_s, vein_mixing_s
        Residence times of the exponential mixing in a sac, in the nidus and in veins, s.
    capillary_delay_s
        Passage from the end of the arteries to the veins of normal tissue, s.
    vein_dilution
        Concentration in veins relative to the linear chain (blood without contrast joins).
    """

    model: str = "transit"
    injection_start_s: float = 0.35
    injection_duration_s: float = 2.8
    injection_rise_s: float = 0.15
    concentration_mg_ml: float = 150.0
    pulsatility: float = 0.25
    heart_rate_hz: float = 1.1
    velocity_mm_s: float = 400.0
    reference_radius_mm: float = 2.2
    velocity_limits_mm_s: tuple[float, float] = (60.0, 600.0)
    dispersion_mean_s: float = 0.05
    dispersion_per_arrival: float = 0.25
    dispersion_alpha: float = 3.0
    aneurysm_mixing_s: float = 0.8
    nidus_mixing_s: float = 0.12
    vein_mixing_s: float = 0.25
    capillary_delay_s: float = 1.2
    vein_dilution: float = 0.6


@dataclass(frozen=True)
class ContrastCurves:
    """Concentration at the nodes of a tree.

    Parameters
    ----------
    times_s
        Fine time axis (T,), s.
    concentration_mg_ml
        Iodine per node (P, T), float32.
    arrival_s
        Half-rise time of each node's curve (P,), s.
    """

    times_s: NDArray[np.float64]
    concentration_mg_ml: NDArray[np.float32]
    arrival_s: NDArray[np.float32] = field(repr=False)

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float32]:
        """Concentration (n, P) at ``times_s`` (n,), linear between the fine samples, mg/ml."""
        place = np.clip(np.interp(times_s, self.times_s, np.arange(len(self.times_s))), 0, len(self.times_s) - 1)
        low = np.minimum(place.astype(int), len(self.times_s) - 2)
        share = (place - low).astype(np.float32)
        curves = self.concentration_mg_ml
        return np.ascontiguousarray(((1 - share) * curves[:, low] + share * curves[:, low + 1]).T)


def travel_times(tree: VesselTree, flow: Flow) -> NDArray[np.float64]:
    """Time (P,), s, that blood needs from the root to each node: sum of ds / v(r), plus capillaries."""
    velocity = node_velocity(tree, flow)
    upstream = np.where(tree.parent < 0, np.arange(len(tree)), tree.parent)
    step = tree.segment_length_mm / (0.5 * (velocity + velocity[upstream]))
    step[behind_capillaries(tree)] += flow.capillary_delay_s
    travel = np.zeros(len(tree))
    for node, parent in enumerate(tree.parent):
        if parent >= 0:
            travel[node] = travel[parent] + step[node]
    return travel


def behind_capillaries(tree: VesselTree) -> NDArray[np.bool_]:
    """Nodes (P,) where a vein takes over from an artery of normal tissue."""
    upstream = np.where(tree.parent < 0, np.arange(len(tree)), tree.parent)
    return (tree.kind == VesselKind.VEIN) & (tree.kind[upstream] == VesselKind.ARTERY)


def node_velocity(tree: VesselTree, flow: Flow) -> NDArray[np.float64]:
    """Blood velocity (P,), mm/s, proportional to the radius within limits."""
    low, high = flow.velocity_limits_mm_s
    return np.clip(flow.velocity_mm_s * tree.radius_mm / flow.reference_radius_mm, low, high)


def contrast_curves(tree: VesselTree, flow: Flow, duration_s: float, *, seed: int = 0) -> ContrastCurves:
    """Concentration curves of every node from 0 to ``duration_s``.

    ``seed`` fixes what varies at random (the phase of the pulse).
    """
    times = np.arange(0.0, duration_s + 2 * TIME_STEP_S, TIME_STEP_S)
    curves = FLOW_MODELS[flow.model](tree, flow, times, np.random.default_rng(seed))
    curves = np.maximum(curves, 0.0).astype(np.float32)
    curves[tree.kind == VesselKind.VEIN] *= flow.vein_dilution
    return ContrastCurves(times, curves, arrival_times(curves, times))


def injection(flow: Flow, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Concentration (T,), mg/ml, at the root: a box with finite rise, pulsatile."""
    since = times_s - flow.injection_start_s
    rise = max(flow.injection_rise_s, TIME_STEP_S)
    box = np.clip(since / rise, 0, 1) * np.clip((flow.injection_duration_s + rise - since) / rise, 0, 1)
    beat = 1 - 0.5 * flow.pulsatility * (1 + np.sin(2 * np.pi * flow.heart_rate_hz * times_s))
    return flow.concentration_mg_ml * box * beat


def mixing_times(tree: VesselTree, flow: Flow) -> NDArray[np.float64]:
    """Residence time of the exponential mixing per node (P,), s (0 in arteries)."""
    by_kind = np.zeros(len(VesselKind))
    by_kind[VesselKind.ANEURYSM] = flow.aneurysm_mixing_s
    by_kind[VesselKind.NIDUS] = flow.nidus_mixing_s
    by_kind[VesselKind.VEIN] = flow.vein_mixing_s
    return by_kind[tree.kind]


def _chain(
    tree: VesselTree, flow: Flow, times_s: NDArray[np.float64], inlet: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Curves (P, T) of the linear chain, multiplied out in the frequency domain."""
    length = 2 * len(times_s)
    frequency = np.fft.rfftfreq(length, TIME_STEP_S)
    used = frequency < HIGHEST_FREQUENCY_HZ
    omega, spectrum = 2 * np.pi * frequency[used], np.fft.rfft(inlet, length)[used]
    travel = travel_times(tree, flow)
    kernel_mean = flow.dispersion_mean_s + flow.dispersion_per_arrival * travel
    scale = kernel_mean / (flow.dispersion_alpha + 1)
    mixing = mixing_times(tree, flow)
    curves = np.empty((len(tree), len(times_s)), np.float32)
    for start in range(0, len(tree), 512):
        block = slice(start, start + 512)
        transfer = np.exp(-1j * omega * travel[block, None])
        transfer *= (1 + 1j * omega * scale[block, None]) ** -(flow.dispersion_alpha + 1)
        transfer /= 1 + 1j * omega * mixing[block, None]
        filled = np.zeros((len(transfer), len(frequency)), complex)
        filled[:, used] = spectrum * transfer
        curves[block] = np.fft.irfft(filled, length)[:, : len(times_s)]
    return curves


def _transit(
    tree: VesselTree, flow: Flow, times_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """The standard: one injection through the linear chain."""
    return _chain(tree, flow, times_s, injection(flow, times_s))


def _pulsatile(
    tree: VesselTree, flow: Flow, times_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Arrival times and concentrations swing by 20 % with the beat, out of phase along z."""
    curves = _chain(tree, flow, times_s, injection(replace(flow, pulsatility=0.0), times_s))
    travel = travel_times(tree, flow)
    phase = rng.uniform(0, 2 * np.pi) + tree.points_mm[:, 2] / 25.0
    result = np.empty_like(curves)
    for node in range(len(tree)):
        beat = np.sin(2 * np.pi * 0.6 * times_s + phase[node])
        result[node] = (1 + 0.2 * beat) * np.interp(times_s - 0.2 * travel[node] * beat, times_s, curves[node])
    return result


def _two_phase(
    tree: VesselTree, flow: Flow, times_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Two short injections with washed-out blood between them."""
    short = replace(flow, injection_duration_s=0.36 * flow.injection_duration_s)
    later = replace(short, injection_start_s=flow.injection_start_s + 0.85 * flow.injection_duration_s)
    return _chain(tree, flow, times_s, injection(short, times_s) + 0.8 * injection(later, times_s))


def _recirculation(
    tree: VesselTree, flow: Flow, times_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """A quarter of the contrast comes back, late and wide, through the root."""
    first = injection(flow, times_s)
    omega = 2 * np.pi * np.fft.rfftfreq(2 * len(times_s), TIME_STEP_S)
    back = 0.25 * np.exp(-1j * omega * 1.4) * (1 + 1j * omega * 0.15) ** -4
    again = np.fft.irfft(np.fft.rfft(first, 2 * len(times_s)) * back, 2 * len(times_s))[: len(times_s)]
    return _chain(tree, flow, times_s, first + np.maximum(again, 0))


def _advection_diffusion(
    tree: VesselTree, flow: Flow, times_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Transport equation solved on the tree: dispersion by diffusion instead of a kernel."""
    mixing = mixing_times(tree, flow)
    mixing[behind_capillaries(tree)] += flow.capillary_delay_s
    return advected_concentration(tree, node_velocity(tree, flow), mixing, injection(flow, times_s), TIME_STEP_S)


def _trapping(
    tree: VesselTree, flow: Flow, times_s: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sacs fill slowly (four times the residence time) and keep what has settled in them."""
    curves = _transit(tree, replace(flow, aneurysm_mixing_s=4 * flow.aneurysm_mixing_s), times_s, rng)
    sac = tree.kind == VesselKind.ANEURYSM
    curves[sac] = 0.5 * curves[sac] + 0.5 * np.maximum.accumulate(curves[sac], axis=1)
    return curves


FlowModel = Callable[[VesselTree, Flow, NDArray[np.float64], np.random.Generator], NDArray[np.float32]]
FLOW_MODELS: dict[str, FlowModel] = {
    "transit": _transit,
    "pulsatile": _pulsatile,
    "two-phase": _two_phase,
    "recirculation": _recirculation,
    "advection-diffusion": _advection_diffusion,
    "trapping": _trapping,
    "blush": _transit,
    "layering": _transit,
}
"""Flow models by name. ``blush`` has the standard curves and adds capillaries and veins to the case, ``layering``
lets contrast sink across the lumen (:mod:`DSAReconLib.simulation.layering`)."""
