"""The same poses in the conventions of other programs. Numpy only; RTK is imported when asked for."""
