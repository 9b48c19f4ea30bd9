"""Results as DICOM objects: values in, pydicom data sets out (see docs/dicom_results.md)."""
