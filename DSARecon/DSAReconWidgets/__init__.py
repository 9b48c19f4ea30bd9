"""Engine and panel of the DSARecon module; Slicer's own style (camelCase) as its template has it."""

from DSAReconWidgets.folders import makeLibraryImportable

makeLibraryImportable()
