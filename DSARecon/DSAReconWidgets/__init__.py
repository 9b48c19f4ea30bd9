"""Engine and panel of the DSARecon module; Slicer's own style (camelCase) as its template has it."""

from DSAReconWidgets.library_path import makeLibraryImportable

makeLibraryImportable()
