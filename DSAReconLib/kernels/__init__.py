"""The numerical kernels: functions of arrays without state, each with a plain torch reference.

``backend`` says what this machine can run, ``selftest`` whether it computes right.
"""

from DSAReconLib.kernels.backend import available_backends, resolve_device

__all__ = ["available_backends", "resolve_device"]
