"""Key views and movie as multi-frame Secondary Capture (PS3.3 A.8.3, A.8.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DSAReconLib.dicom.results.elements import code, decimal
from DSAReconLib.dicom.results.identity import DISCLAIMER, ResultIdentity, new_object, set_body_part
from DSAReconLib.dicom.results.references import copy_lossiness, source_image_items

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

GREY_FRAMES = "1.2.840.10008.5.1.4.1.1.7.2"
COLOR_FRAMES = "1.2.840.10008.5.1.4.1.1.7.4"
_FRAME_TIME, _FRAME_TIME_VECTOR, _PAGE_NUMBER = 0x00181063, 0x00181065, 0x00182001


def key_views_object(pictures: NDArray[np.uint8], captions: list[str], identity: ResultIdentity) -> Dataset:
    """Pictures (P, R, C, 3), one per page; the captions go into Image Comments."""
    if pictures.ndim != 4 or len(captions) != len(pictures):
        raise ValueError(f"pictures must be (P, R, C, 3) with P captions; got {pictures.shape}, {len(captions)}")
    dataset = _captured(pictures, "key_views", identity)
    dataset.ImageComments = f"{'; '.join(captions)}. {DISCLAIMER}"
    dataset.PageNumberVector = list(range(1, len(pictures) + 1))
    dataset.FrameIncrementPointer = _PAGE_NUMBER
    return dataset


def movie_object(pictures: NDArray[np.uint8], times_s: ArrayLike, identity: ResultIdentity) -> Dataset:
    """Grey pictures (F, R, C) at ``times_s`` (F,), s, as a movie in real time."""
    steps_ms = np.diff(np.asarray(times_s, float)) * 1000
    if pictures.ndim != 3 or len(steps_ms) + 1 != len(pictures) or not np.all(steps_ms > 0):
        raise ValueError(f"pictures must be (F, R, C) with F increasing times; got {pictures.shape}")
    dataset = _captured(pictures, "movie", identity)
    mean_ms = float(steps_ms.mean()) if len(steps_ms) else 1000.0
    if np.allclose(steps_ms, mean_ms, rtol=0, atol=0.05):
        dataset.FrameTime = decimal(mean_ms)
        dataset.FrameIncrementPointer = _FRAME_TIME
    else:
        dataset.FrameTimeVector = [decimal(step) for step in (0.0, *steps_ms)]
        dataset.FrameIncrementPointer = _FRAME_TIME_VECTOR
    dataset.RecommendedDisplayFrameRate = dataset.CineRate = max(1, round(1000 / mean_ms))
    dataset.ImageComments = f"Contrast along the acquired path, rendered from the 4D result. {DISCLAIMER}"
    return dataset


def _captured(pictures: NDArray[np.uint8], kind: str, identity: ResultIdentity) -> Dataset:
    color = pictures.ndim == 4
    dataset = new_object(identity, COLOR_FRAMES if color else GREY_FRAMES, kind)
    dataset.Modality, dataset.ConversionType = "OT", "WSD"  # codespell:ignore
    set_body_part(dataset, identity)
    dataset.PatientOrientation = ""
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = identity.derivation
    dataset.DerivationCodeSequence = [code("113062", "DCM", "Pixel by pixel subtraction")]
    dataset.SourceImageSequence = source_image_items(identity.sources)
    dataset.BurnedInAnnotation, dataset.RecognizableVisualFeatures = "NO", "NO"
    copy_lossiness(dataset, identity.sources.headers)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pictures.shape[:3]
    dataset.SamplesPerPixel = 3 if color else 1
    if color:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    else:
        dataset.PhotometricInterpretation, dataset.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = pictures.tobytes() + b"\0" * (pictures.size % 2)
    dataset["PixelData"].VR = "OB"
    return dataset
