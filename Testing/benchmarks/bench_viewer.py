"""How fluent the web viewer is: opening time, pictures per second while dragging and playing, cost of a picture.

Usage: ``python Testing/benchmarks/bench_viewer.py RESULT [RESULT ...]``; needs Chromium and playwright.
The 3D view has 640 x 640 pixels. Pictures are counted in the browser, so that everything
counts: rendering, encoding, sending, decoding; the browser shares the processors with the
viewer. Processor time is that of viewer and render server per picture that arrived.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Python"), str(Path(__file__).resolve().parents[2])]

import psutil  # noqa: E402
from helpers.viewer_process import CHROMIUM, Pane, ViewerProcess, wait_for  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

_VIEWPORT = {"width": 1911, "height": 745}  # gives the 3D view 640 x 640 pixels
_COUNT = """name => { window.counts = window.counts || {}; window.counts[name] = 0;
  const area = document.querySelector('.pane.' + name);
  new MutationObserver(list => { window.counts[name] += list.filter(m => m.attributeName === 'src').length; })
    .observe(area, {subtree: true, attributes: true, attributeFilter: ['src']}); }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (8)")
    args = parser.parse_args()
    for folder in args.results:
        measure(folder, args.seconds)


def measure(folder: Path, seconds: float) -> None:
    """All figures of one result."""
    started = time.monotonic()
    viewer = ViewerProcess(folder)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport=_VIEWPORT)
        page.goto(viewer.address)
        panes = {name: Pane(page, name) for name in ("threed", "novel")}
        for pane in panes.values():
            wait_for(lambda pane=pane: pane.pixels()[60:-60].std() > 3, pause=lambda s: page.wait_for_timeout(1e3 * s))
        print(f"\n{folder.name}: opened in {time.monotonic() - started:.1f} s", flush=True)
        for name in panes:
            page.evaluate(_COUNT, name)
            box = panes[name].locator.bounding_box()
            print(f"  {name}: {box['width']:.0f} x {box['height']:.0f} pixels")
        runs(page, psutil.Process(viewer.process.pid), panes, seconds)
        browser.close()
    viewer.stop()


def runs(page, process, panes, seconds: float) -> None:
    """The situations that users notice."""
    report(page, process, "dragging 3D view, volume", lambda: drag(page, panes["threed"], seconds), "threed")
    page.get_by_label("Volume rendering", exact=True).click()
    page.get_by_label("Vessel surface", exact=True).click()
    report(page, process, "dragging 3D view, surface", lambda: drag(page, panes["threed"], seconds), "threed")
    page.get_by_label("Volume rendering", exact=True).click()
    page.get_by_label("Vessel surface", exact=True).click()
    report(
        page, process, "dragging novel view, 3D view turns too", lambda: drag(page, panes["novel"], seconds), "novel"
    )
    page.get_by_role("button", name="Angles").click()
    report(page, process, "dragging novel view", lambda: drag(page, panes["novel"], seconds), "novel")
    page.locator(".play").click()
    report(page, process, "playing, 3D view", lambda: page.wait_for_timeout(1e3 * seconds), "threed")
    report(page, process, "playing, novel view", lambda: page.wait_for_timeout(1e3 * seconds), "novel")


def drag(page, pane: Pane, seconds: float) -> None:
    """Move the mouse in a circle with the button held."""
    box = pane.locator.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    end, angle = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        angle += 0.15
        page.mouse.move(x + 80 * math.cos(angle), y + 80 * math.sin(angle))
        page.wait_for_timeout(15)
    page.mouse.up()


def report(page, process, title: str, action, name: str) -> None:
    """Print the rate of one situation."""
    page.wait_for_timeout(2500)
    page.evaluate("name => { window.counts[name] = 0; }", name)
    started, cpu = time.monotonic(), cpu_seconds(process)
    action()
    elapsed, count = time.monotonic() - started, page.evaluate("name => window.counts[name]", name)
    spent = 1e3 * (cpu_seconds(process) - cpu) / max(count, 1)
    print(f"  {title:<40} {count / elapsed:5.1f} pictures/s, {spent:6.1f} ms processor time each", flush=True)


def cpu_seconds(process) -> float:
    """Processor time so far of a process and its children."""
    return sum(
        sum(member.cpu_times()[:2]) for member in (process, *process.children(recursive=True)) if member.is_running()
    )


if __name__ == "__main__":
    main()
