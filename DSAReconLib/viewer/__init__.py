"""The web viewer: results in a browser, from the same scene code as desktop Slicer.

The page is made by trame; 3D and slice views are slicer-core's, rendered here and sent as
pictures; novel views come from render servers (``jobs.render_client``), acquired frames from
the DICOM runs. Only this machine can connect, and only with the token of the address.
"""
