"""Kernels on few elements instead of whole grids: voxel lists, windows of views, isotropic Gaussians."""
