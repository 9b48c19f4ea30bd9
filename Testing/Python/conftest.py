"""What every test gets: fixed seeds, one hypothesis profile, no stray settings."""

import random

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("dsarecon", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("dsarecon")


@pytest.fixture(autouse=True)
def _fixed_seeds():
    """Legacy global generators start the same in every test (code under test takes seeds of its own)."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries that we test against use it


@pytest.fixture(scope="session")
def tiny_case(tmp_path_factory):
    """Folder with ``mask.dcm``, ``fill.dcm`` and ``truth/`` of the tiny simulated case."""
    from helpers.cases import simulated

    from DSAReconLib.simulation import write_case

    return write_case(tmp_path_factory.mktemp("tiny_case"), simulated(views=20, detector=32))
