"""Objects from and to an archive: DICOMweb (PS3.18) and the DICOM network protocol (PS3.7, PS3.8).

The packages ``dicomweb-client`` and ``pynetdicom`` (extra ``pacs``) are imported on use.
"""
