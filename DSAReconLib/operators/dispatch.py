"""One linear kernel for numpy arrays, torch tensors of any device, and autograd."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DSAReconLib.kernels.raycast import backend, checked_array
from DSAReconLib.kernels.raycast.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LinearKernel:
    """Implementations of one linear map.

    Parameters
    ----------
    argument
        Name of the argument in error messages.
    shape
        Its shape.
    cpu
        C-contiguous float32 array to array.
    cuda
        Contiguous float32 CUDA tensor to tensor.
    reference
        Tensor of any dtype and device to tensor, differentiable by torch.
    """

    argument: str
    shape: tuple[int, ...]
    cpu: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    cuda: Callable[[Tensor], Tensor]
    reference: Callable[[Tensor], Tensor]


def apply_linear(kernel: LinearKernel, transpose: LinearKernel | None, x: Any, device: str) -> Any:
    """``kernel`` of an array (computed on ``device``) or of a tensor (computed where it lies).

    Parameters
    ----------
    kernel, transpose
        A map and its adjoint; without ``transpose`` the result carries no gradient.
    x
        numpy array or anything that becomes one, or torch tensor.
    device
        ``"cpu"`` or ``"cuda:i"``.

    Raises
    ------
    ValueError
        Wrong shape, or NaN or infinity in an array on the CPU.
    """
    loaded = sys.modules.get("torch")
    if loaded is not None and isinstance(x, loaded.Tensor):
        return _apply_to_tensor(kernel, transpose, x)
    array = checked_array(kernel.argument, x, kernel.shape)
    if device == "cpu":
        return kernel.cpu(array)
    import torch

    return kernel.cuda(torch.from_numpy(array).to(device)).cpu().numpy()


def raycast_kernel(
    name: str, argument: str, shape: tuple[int, ...], parameters: tuple[Any, ...], workspace: Workspace
) -> LinearKernel:
    """The function ``name`` of the ray casting backends, with its ``parameters`` behind the array."""

    def cpu(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return getattr(backend(), name)(x, *parameters, workspace=workspace)  # type: ignore[no-any-return]

    def cuda(x: Tensor) -> Tensor:
        from DSAReconLib.kernels.cuda import raycast as cuda_raycast

        return getattr(cuda_raycast, name)(x, *parameters)  # type: ignore[no-any-return]

    def by_reference(x: Tensor) -> Tensor:
        from DSAReconLib.kernels.raycast import reference

        return getattr(reference, name)(x, *parameters)  # type: ignore[no-any-return]

    return LinearKernel(argument, shape, cpu, cuda, by_reference)


def _apply_to_tensor(kernel: LinearKernel, transpose: LinearKernel | None, x: Tensor) -> Tensor:
    import torch

    from DSAReconLib.operators.autograd import LinearMap

    if tuple(x.shape) != tuple(kernel.shape):
        raise ValueError(f"{kernel.argument} must have shape {tuple(kernel.shape)}; got {tuple(x.shape)}")
    if x.dtype != torch.float32 or x.device.type not in ("cpu", "cuda"):
        return kernel.reference(x)
    runs = [_runner(each, x.device.type) for each in (kernel, transpose) if each is not None]
    if transpose is None:
        return runs[0](x.detach())
    return LinearMap.apply(x, *runs)  # type: ignore[no-any-return]


def _runner(kernel: LinearKernel, device_type: str) -> Callable[[Tensor], Tensor]:
    """Tensor to tensor without autograd; no copy on the CPU."""

    def on_cpu(x: Tensor) -> Tensor:
        import torch

        return torch.from_numpy(kernel.cpu(checked_array(kernel.argument, x.detach().numpy(), kernel.shape)))

    return on_cpu if device_type == "cpu" else lambda x: kernel.cuda(x.detach().contiguous())
