"""Transit: every voxel's curve is the inlet curve seen through a sparse transit-time density."""
