"""Results and runs as MRML scenes: the same code for desktop Slicer, slicer-core and the web viewer.

Scene and logics are arguments (:class:`~DSAReconLib.mrml.context.SceneContext`); nothing here
knows a window. RAS begins here: everywhere else the world is patient LPS.
"""
