"""Dynamic attenuation of Gaussians: free time courses, or one neural field for all (4DRGS eq. 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.geometry import VolumeGrid
from DSAReconLib.models.gaussian_table import GaussianTable
from DSAReconLib.reconstruction import TemporalBasis

FloatArray = NDArray[np.float32]

_SAMPLES_PER_SPLINE = 8


class AttenuationField(Protocol):
    """Where the Gaussians' central attenuation (n, N) at n times comes from."""

    def amplitudes(self, table: GaussianTable, times_s: NDArray[np.float64]) -> FloatArray:
        """Attenuation (n, N), 1/mm, >= 0."""

    def pull_back(
        self, table: GaussianTable, times_s: NDArray[np.float64], gradient: FloatArray
    ) -> dict[str, FloatArray]:
        """Gradients of the table's rows from that (n, N) of :meth:`amplitudes` at the same times."""

    def update(self, rate: float) -> None:
        """Step of the field's own parameters along the gradients that :meth:`pull_back` left."""

    def frozen(self, table: GaussianTable) -> tuple[FloatArray, TemporalBasis]:
        """Coefficients (K, N), 1/mm, and the basis that they belong to."""

    def state(self) -> dict[str, Any]:
        """Arrays for a checkpoint."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""


class FreeCourses:
    """Every Gaussian has coefficients of its own, the column ``coefficients`` of its row.

    Parameters
    ----------
    basis
        Time functions, all >= 0.
    """

    def __init__(self, basis: TemporalBasis) -> None:
        self.basis = basis

    def amplitudes(self, table: GaussianTable, times_s: NDArray[np.float64]) -> FloatArray:
        """Attenuation (n, N), 1/mm."""
        return np.ascontiguousarray(self.basis.at(times_s) @ table.rows["coefficients"].T)

    def pull_back(
        self, table: GaussianTable, times_s: NDArray[np.float64], gradient: FloatArray
    ) -> dict[str, FloatArray]:
        """Gradient of the coefficients (N, K)."""
        return {"coefficients": gradient.T @ self.basis.at(times_s)}

    def update(self, rate: float) -> None:
        """Nothing: the coefficients are updated with the table."""

    def frozen(self, table: GaussianTable) -> tuple[FloatArray, TemporalBasis]:
        """Coefficients (K, N), 1/mm, and the basis."""
        return np.ascontiguousarray(table.rows["coefficients"].T), self.basis

    def state(self) -> dict[str, Any]:
        """Nothing besides the table."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing besides the table."""


def spline_basis(count: int, duration_s: float) -> TemporalBasis:
    """``count`` cubic B-splines (fewer: lower degree) that sum to 1 on [0, duration_s], finely sampled."""
    from scipy.interpolate import BSpline

    degree = min(3, count - 1)
    inner = np.linspace(0, duration_s, count - degree + 1)
    knots = np.concatenate([np.full(degree, inner[0]), inner, np.full(degree, inner[-1])])
    times = np.linspace(0, duration_s, _SAMPLES_PER_SPLINE * count + 1)
    values = BSpline(knots, np.eye(count), degree)(times)
    return TemporalBasis(times, np.ascontiguousarray(values.T, np.float32))


class NeuralAttenuation:
    """rho(p, t) = ReLU(perceptron([hash3(p), hash4(p, t)])) at the Gaussians' centers (torch).

    The positions receive the gradient through the encodings too. Adam (eps 1e-15, weight
    decay 5e-5) with sizes of 4DRGS: 12 levels of 2 features, base 8 and 2, growth 1.45 and
    1.4, two hidden layers of 64. A field that is zero everywhere starts again from other
    weights: nothing would move it.

    Parameters
    ----------
    box
        Volume whose outer box is the unit cube of the encodings; centers are clamped into it.
    duration_s
        Length of the run: the unit of time.
    log2_entries
        Binary logarithm of the entries per level.
    samples
        Time samples of :meth:`frozen`.
    seed
        Of the first weights.
    device
        Of the field.
    """

    def __init__(
        self, box: VolumeGrid, duration_s: float, *, log2_entries: int, samples: int, seed: int, device: str
    ) -> None:
        import torch

        from DSAReconLib.kernels.hashgrid import HashGrid
        from DSAReconLib.models.neural_field import HashEncoding, Perceptron

        space = HashGrid(3, levels=12, features=2, log2_entries=log2_entries, base_resolution=8, growth=1.45)
        space_time = HashGrid(4, levels=12, features=2, log2_entries=log2_entries, base_resolution=2, growth=1.4)
        parts = [HashEncoding(space, seed=seed), HashEncoding(space_time, seed=seed + 1)]
        self._module = torch.nn.ModuleList([*parts, Perceptron([48, 64, 64, 1], seed=seed + 2)]).to(device)
        self._optimizer = torch.optim.Adam(self._module.parameters(), lr=1e-3, eps=1e-15, weight_decay=5e-5)
        self._origin = np.array(box.origin_mm) - np.array(box.spacing_mm) / 2
        self._size, self._duration, self._samples, self._device = box.size_mm, duration_s, samples, device
        self._seed = seed

    def amplitudes(self, table: GaussianTable, times_s: NDArray[np.float64]) -> FloatArray:
        """Attenuation (n, N), 1/mm."""
        import torch

        with torch.no_grad():
            return np.ascontiguousarray(self._values(self._points(table), times_s).cpu().numpy())

    def pull_back(
        self, table: GaussianTable, times_s: NDArray[np.float64], gradient: FloatArray
    ) -> dict[str, FloatArray]:
        """Gradient of the means (N, 3); that of the field's weights waits for :meth:`update`."""
        import torch

        points = self._points(table).requires_grad_()
        self._optimizer.zero_grad(set_to_none=True)
        values = self._values(points, times_s)
        if not bool((values > 0).any()):  # dead: no gradient would ever come through the last ReLU
            self._reseed()
            return {}
        values.backward(torch.from_numpy(np.ascontiguousarray(gradient)).to(self._device))
        if points.grad is None:
            return {}
        return {"means": (points.grad.cpu().numpy() / self._size).astype(np.float32)}

    def update(self, rate: float) -> None:
        """Adam step of the tables and weights."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()

    def frozen(self, table: GaussianTable) -> tuple[FloatArray, TemporalBasis]:
        """Attenuation (K, N) at K evenly spaced times, linear in between."""
        times = np.linspace(0, self._duration, self._samples)
        rows = [self.amplitudes(table, times[k : k + 1]) for k in range(len(times))]
        return np.concatenate(rows), TemporalBasis.hats(times)

    def state(self) -> dict[str, Any]:
        """Weights and Adam's moments."""
        arrays: dict[str, Any] = {"field_seed": self._seed}
        for n, parameter in enumerate(self._module.parameters()):
            arrays[f"field:{n}"] = parameter.detach().cpu().numpy()
            for name, value in self._optimizer.state.get(parameter, {}).items():
                arrays[f"field:{n}:{name}"] = value.detach().cpu().numpy()
        return arrays

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored :meth:`state`."""
        import torch

        self._seed = int(state["field_seed"])
        for n, parameter in enumerate(self._module.parameters()):
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.asarray(state[f"field:{n}"])))
            prefix = f"field:{n}:"
            entries = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            if entries:
                self._optimizer.state[parameter] = {
                    name: torch.from_numpy(np.array(value)).to("cpu" if name == "step" else self._device)
                    for name, value in entries.items()
                }

    def _reseed(self) -> None:
        """Start again from other random weights."""
        import torch

        self._seed += 10
        in_space, in_time, perceptron = self._module
        with torch.no_grad():
            for n, encoding in enumerate((in_space, in_time)):
                encoding.table.copy_(torch.from_numpy(encoding.grid.random_table(self._seed + n)))
            perceptron.reseed(self._seed + 2)
        self._optimizer.state.clear()

    def _points(self, table: GaussianTable) -> Any:
        """Centers in the unit cube (N, 3)."""
        import torch

        places = np.clip((table.rows["means"] - self._origin) / self._size, 0, 1)
        return torch.from_numpy(places.astype(np.float32)).to(self._device)

    def _values(self, points: Any, times_s: NDArray[np.float64]) -> Any:
        """Attenuation (n, N) at points of the unit cube."""
        import torch

        in_space, in_time, perceptron = self._module
        static = in_space(points)
        rows = []
        for time in np.clip(np.asarray(times_s, float) / self._duration, 0, 1):
            places = torch.cat([points, torch.full_like(points[:, :1], float(time))], 1)
            features = torch.cat([static, in_time(places)], 1)
            rows.append(torch.relu(perceptron(features)[:, 0]))
        return torch.stack(rows)
