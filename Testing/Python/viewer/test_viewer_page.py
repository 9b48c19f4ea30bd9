"""The page in a real browser does what its labels say."""

import io
import re

import numpy as np
import pytest
from helpers.viewer_process import Pane, wait_for
from PIL import Image
from scipy.ndimage import gaussian_filter

pytestmark = pytest.mark.browser

_FOREGROUND_GREY = 60


def text(page, selector):
    return page.locator(selector).first.inner_text()


def seconds(page):
    return float(re.search(r"([\d.]+) s of", text(page, ".time .now")).group(1))


def move_time(page, fraction):
    box = page.locator(".time-slider .v-slider-track").bounding_box()
    page.mouse.click(box["x"] + fraction * box["width"], box["y"] + box["height"] / 2)


def follow(page, label):
    page.get_by_role("button", name=label, exact=True).click()


def switch(page, label, on):
    box = page.get_by_label(label, exact=True)
    if box.is_checked() != on:
        box.click()


def inside(pixels):
    """Without the labels at the edges."""
    return pixels[45:-30]


def vessels_of_threed(pixels):
    return pixels.max(2) > _FOREGROUND_GREY


def vessels_of_novel(pixels):
    return pixels.mean(2) < 255 - _FOREGROUND_GREY


def center(mask):
    rows, columns = np.nonzero(mask)
    return rows.mean(), columns.mean()


@pytest.fixture
def start(page):
    """The first result at half its time, the views as at the start."""
    if "Moving" not in text(page, ".result-select"):
        select_result(page, "Moving")
    follow(page, "3D view")
    move_time(page, 0.6)
    page.get_by_role("button", name="Reset views").click()
    return page


def select_result(page, title):
    page.locator(".result-select").click()
    page.locator(".v-overlay .v-list-item", has_text=title).click()
    wait_for(lambda: title in text(page, ".result-select"), pause=lambda s: page.wait_for_timeout(1000 * s))
    page.locator(".busy").wait_for(state="detached")


def test_page_loads_without_a_complaint_and_from_this_machine_only(page, viewer, viewer_results, viewer_case):
    Pane(page, "threed").settled()

    assert page.complaints == []
    hosts = {address.split("/")[2] for address in page.addresses if not address.startswith(("data:", "blob:"))}
    assert hosts == {f"127.0.0.1:{viewer.port}"}
    shown = page.content() + page.title() + page.url + str(page.evaluate("JSON.stringify(trame.state.state)"))
    for private in (*map(str, viewer_results), str(viewer_case), "secretplace", "/tmp", "Simulated^", "DSARecon^"):
        assert private not in shown
    assert page.title() == "DSARecon viewer"
    assert "30" not in page.title()


def test_volume_in_the_3d_view_lies_where_the_gaussians_of_the_novel_view_lie(start):
    threed_pixels, novel_pixels = Pane(start, "threed").settled(), Pane(start, "novel").settled()
    rows = len(threed_pixels)
    scale = rows / len(novel_pixels)  # both show the same vertical field of view
    shape = round(novel_pixels.shape[1] * scale), rows
    large = Image.fromarray(novel_pixels.astype(np.uint8)).resize(shape, Image.Resampling.BILINEAR)
    without_labels = slice(round(36 * scale), -30)
    threed = vessels_of_threed(threed_pixels)[without_labels]
    novel = vessels_of_novel(np.asarray(large, float))[without_labels]
    cut = (novel.shape[1] - threed.shape[1]) // 2
    if cut >= 0:
        novel = novel[:, cut : cut + threed.shape[1]]
    else:
        threed = threed[:, -cut : -cut + novel.shape[1]]

    assert threed.sum() > 2000
    assert np.hypot(*np.subtract(center(threed), center(novel))) < 0.03 * rows
    assert (threed & novel).sum() > 0.6 * min(threed.sum(), novel.sum())


def test_novel_view_of_an_acquired_pose_shows_the_acquired_frame(start):
    wait_for(
        lambda: start.locator(".side .hint").count() == 0, pause=lambda seconds: start.wait_for_timeout(1000 * seconds)
    )
    switch(start, "Acquired frame beside it", on=True)
    move_time(start, 6 / 11)  # frame 6 of 12, when all vessels are filled
    start.locator(".v-btn--active", has_text="As acquired").wait_for()
    start.locator(".pane.acquired img").wait_for()
    acquired, novel = Pane(start, "acquired").settled(), Pane(start, "novel").settled()
    shape = tuple(np.minimum(acquired.shape, novel.shape)[:2])
    shown = [inside(picture[: shape[0], : shape[1]].mean(2)) for picture in (acquired, novel)]
    detector_pixel = shape[0] / 32
    smooth = [gaussian_filter(picture, detector_pixel).ravel() for picture in shown]

    assert np.corrcoef(*smooth)[0, 1] > 0.9
    switch(start, "Acquired frame beside it", on=False)


def test_moving_the_time_slider_changes_all_views(start):
    move_time(start, 0.6)
    threed, novel = Pane(start, "threed").settled(), Pane(start, "novel").settled()
    before = seconds(start)

    move_time(start, 0.15)
    wait_for(lambda: seconds(start) < before - 0.5, pause=lambda s: start.wait_for_timeout(1000 * s))

    early = Pane(start, "threed").changed_from(threed)
    assert vessels_of_threed(inside(early)).sum() < vessels_of_threed(inside(threed)).sum()
    faint = Pane(start, "novel").changed_from(novel)
    assert inside(faint).mean() > inside(novel).mean()


def test_playback_advances_the_time_until_it_is_stopped(start):
    first = seconds(start)
    start.locator(".play").click()
    wait_for(lambda: abs(seconds(start) - first) > 0.2, pause=lambda s: start.wait_for_timeout(1000 * s))
    start.locator(".play").click()

    def stopped() -> bool:
        before = seconds(start)
        start.wait_for_timeout(800)
        return seconds(start) == before

    wait_for(stopped, pause=lambda s: start.wait_for_timeout(1000 * s))
    assert stopped()


def test_dragging_the_3d_view_rotates_it_and_the_novel_view_follows(start):
    threed, novel = Pane(start, "threed").settled(), Pane(start, "novel").settled()
    assert "LAO 0° CRA 0°" in text(start, ".pane.novel .tag.right")

    Pane(start, "threed").drag(0.25, 0.0)

    Pane(start, "threed").changed_from(threed, 1.0)
    Pane(start, "novel").changed_from(novel, 1.0)
    assert "LAO 0° CRA 0°" not in text(start, ".pane.novel .tag.right")
    test_volume_in_the_3d_view_lies_where_the_gaussians_of_the_novel_view_lie(start)


def test_angle_slider_turns_the_novel_view_alone(start):
    threed, novel = Pane(start, "threed").settled(), Pane(start, "novel").settled()
    box = start.locator(".primary_deg .v-slider-track").bounding_box()
    start.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)

    Pane(start, "novel").changed_from(novel, 1.0)
    assert re.match(r"LAO (8|9)\d° CRA 0°", text(start, ".pane.novel .tag.right"))
    assert np.abs(Pane(start, "threed").settled() - threed).mean() < 0.5
    start.get_by_role("button", name="Aim the 3D view here").click()
    Pane(start, "threed").changed_from(threed, 1.0)


def test_click_on_a_vessel_draws_its_curve_and_a_click_beside_says_so(start):
    pane = Pane(start, "threed")
    mask = vessels_of_threed(pane.settled())
    mask[:45] = mask[-30:] = False
    row, column = np.argwhere(mask)[mask.sum() // 2]
    pane.click(int(column), int(row))

    start.locator("polyline.curve").wait_for(state="attached")
    points = start.locator("polyline.curve").first.get_attribute("points").split()
    heights = np.array([100 - float(point.split(",")[1]) for point in points])
    assert heights.max() > 50
    assert heights[0] < 10
    assert "arrival" in text(start, ".key")

    start.locator(".clear-points").click()
    start.locator("polyline.curve").wait_for(state="detached")
    pane.click(12, pane.pixels().shape[0] - 12)
    start.locator(".notice", has_text="No vessel there").wait_for()


def test_surface_shows_arrival_colors_with_their_legend(start):
    before = Pane(start, "threed").settled()
    switch(start, "Volume rendering", on=False)
    switch(start, "Vessel surface", on=True)
    colored = Pane(start, "threed").changed_from(before, 0.5)
    start.locator(".legend").wait_for()
    colored = inside(Pane(start, "threed").settled())[:, 60:]
    saturation = colored.max(2) - colored.min(2)
    assert (saturation > 60).sum() > 1000
    switch(start, "Volume rendering", on=True)
    switch(start, "Vessel surface", on=False)


def test_switching_the_result_keeps_camera_and_time(start):
    Pane(start, "threed").drag(0.2, 0.1)
    before, angles = Pane(start, "threed").settled(), text(start, ".pane.novel .tag.right").split("·")[0]

    select_result(start, "Static")

    now = Pane(start, "threed").settled()
    assert text(start, ".pane.novel .tag.right").split("·")[0] == angles
    masks = [vessels_of_threed(inside(picture)) for picture in (before, now)]
    assert (masks[0] & masks[1]).sum() > 0.6 * masks[0].sum()
    assert start.locator(".play").is_disabled()
    select_result(start, "Moving")


def test_window_of_the_novel_view_changes_its_contrast(start):
    before = Pane(start, "novel").settled()
    switch(start, "Light vessels on dark", on=True)
    inverted = Pane(start, "novel").changed_from(before, 50)
    assert inside(inverted).mean() < 80
    switch(start, "Light vessels on dark", on=False)


def test_screenshot_and_movie_are_downloads_of_the_page(start):
    start.get_by_role("button", name="Screenshot").click()
    with start.expect_download() as waiting:
        start.locator(".v-list-item", has_text="Novel view").click()
    picture = Image.open(io.BytesIO(waiting.value.path().read_bytes()))
    assert picture.format == "PNG"
    assert waiting.value.suggested_filename == "dsarecon-novel-view.png"
    start.keyboard.press("Escape")

    start.get_by_role("button", name="Movie").click()
    start.locator(".movie-rotation").first.click()
    start.locator(".movie-download").wait_for(timeout=120_000)
    with start.expect_download() as waiting:
        start.locator(".movie-download").click()
    film = Image.open(io.BytesIO(waiting.value.path().read_bytes()))
    assert (film.format, film.is_animated) == ("GIF", True)
    assert film.n_frames > 20


def test_two_browsers_share_one_view(start, chromium, viewer):
    other = chromium.new_context(viewport={"width": 1180, "height": 720}).new_page()
    other.goto(viewer.address)
    other.locator(".pane.threed img").wait_for()
    before = Pane(other, "threed").settled()

    Pane(start, "threed").drag(0.3, 0.0)

    Pane(other, "threed").changed_from(before, 1.0)
    move_time(other, 0.3)
    wait_for(lambda: abs(seconds(start) - seconds(other)) < 0.02, pause=lambda s: start.wait_for_timeout(1000 * s))
    other.context.close()


def test_page_loaded_again_works_without_the_token_in_its_address(start):
    assert "secret" not in start.url
    start.reload()
    start.locator(".pane.threed img").wait_for()
    assert vessels_of_threed(inside(Pane(start, "threed").settled())).sum() > 1000
