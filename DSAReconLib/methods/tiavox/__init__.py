"""Time-aware attenuation voxels."""
