"""One viewer for all tests of the page, one browser, small results."""

import json
from importlib.util import find_spec

import pytest
from helpers.viewer_process import CHROMIUM, ViewerProcess, wait_for


@pytest.fixture(scope="session")
def viewer_case(tmp_path_factory):
    """The DICOM runs that have the poses and times of the results."""
    from helpers.cases import simulated
    from helpers.scene_cases import VIEWS

    from DSAReconLib.simulation import write_case

    return write_case(tmp_path_factory.mktemp("viewer_case"), simulated(views=VIEWS, detector=32))


@pytest.fixture(scope="session")
def viewer_results(tmp_path_factory, viewer_case):
    """Two results of the tiny simulated case, with time and without, said to come from its DICOM runs."""
    from helpers.scene_cases import write_truth_result
    from pydicom import dcmread

    uids = [
        str(dcmread(viewer_case / name, stop_before_pixels=True).SOPInstanceUID) for name in ("mask.dcm", "fill.dcm")
    ]
    folders = []
    for title, static in (("Moving", False), ("Static", True)):
        folder = write_truth_result(tmp_path_factory.mktemp("secretplace") / title, static=static, title=title)
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(record | {"input_sop_instance_uids": uids}))
        folders.append(folder)
    return folders


@pytest.fixture(scope="session")
def viewer(viewer_results, viewer_case):
    """A running viewer of both results, with the runs."""
    for package in ("slicer", "trame_slicer"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}")
    process = ViewerProcess(*viewer_results, "--source", viewer_case / "mask.dcm", viewer_case / "fill.dcm")
    assert process.address
    yield process
    process.stop()


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.is_file():
        pytest.skip(f"needs {CHROMIUM}")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, viewer):
    """The page of the viewer in a browser profile of its own; complaints are collected in ``page.complaints``."""
    context = chromium.new_context(viewport={"width": 1180, "height": 720}, accept_downloads=True)
    made = context.new_page()
    made.complaints, made.addresses = [], []
    made.on("console", lambda message: message.type == "error" and made.complaints.append(message.text))
    made.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.on("request", lambda request: made.addresses.append(request.url))
    made.on("websocket", lambda socket: made.addresses.append(socket.url))
    made.goto(viewer.address)
    for name in ("threed", "novel", "slice"):
        wait_for(
            lambda name=name: made.evaluate(
                f"(document.querySelector('.pane.{name} img') || {{naturalWidth: 0}}).naturalWidth"
            ),
            pause=lambda seconds: made.wait_for_timeout(1000 * seconds),
        )
    yield made
    context.close()
