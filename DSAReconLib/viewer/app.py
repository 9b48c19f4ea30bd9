"""The viewer: connects the state of the page with scene, areas, playback and downloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from DSAReconLib.errors import DSAReconError
from DSAReconLib.io.result_folder import ResultFolder
from DSAReconLib.mrml import display
from DSAReconLib.rendering.pose import ViewPose, angle_text
from DSAReconLib.viewer.acquired import AcquiredArea, AcquiredFrames
from DSAReconLib.viewer.areas import public_message
from DSAReconLib.viewer.curves import CurvePoints
from DSAReconLib.viewer.downloads import Downloads, png
from DSAReconLib.viewer.movies import MovieDesk
from DSAReconLib.viewer.novel import NovelArea, RenderServers
from DSAReconLib.viewer.picking import Point, ray_of_pose
from DSAReconLib.viewer.playback import Playback
from DSAReconLib.viewer.scene import ViewerScene
from DSAReconLib.viewer.state import FOLLOW_CAMERA, FOLLOW_RUN, first_state, result_state
from DSAReconLib.viewer.threed import SliceArea, ThreeDArea
from DSAReconLib.viewer.viewpoint import Viewpoint

_WATCH_S = 0.2
_WINDOW_HEADROOM = 1.6
_NO_VESSEL = "No vessel there: click on a vessel to see its curve."


class Viewer:
    """Everything behind the page.

    Parameters
    ----------
    server
        trame server whose state the page shares.
    results
        Opened result folders, the first is shown first.
    sources
        Files and folders of the acquired runs, may be empty.
    servers
        Render servers; the caller closes them.
    report
        Takes messages for the terminal.
    """

    def __init__(
        self,
        server: Any,
        results: list[ResultFolder],
        sources: list[Path],
        servers: RenderServers,
        report: Callable[[str], None],
    ) -> None:
        self._server, self._servers, self._report = server, servers, report
        self.state = server.state
        self.scene = ViewerScene(results)
        self.viewpoint = Viewpoint(self.scene)
        self.points = CurvePoints(self.scene)
        self.threed = ThreeDArea(self.scene, self._add_point_or_say, self._camera_moved)
        self.slice = SliceArea(self.scene, self._add_slice_point, self._slice_moved)
        self.novel = NovelArea(self.viewpoint.pose, self._novel_dragged, self._novel_wheel, self._novel_clicked)
        self.acquired = AcquiredArea()
        self.acquired.frames = AcquiredFrames(sources, results[0])
        self.playback = Playback(lambda: self.scene.time_range_s, lambda: self.state.time_s, self.set_time)
        self.downloads = Downloads()
        self.movies = MovieDesk(self)
        self.threed.busy_elsewhere = lambda: self.novel.is_dragged
        self._angles_shown: tuple[int, int] | None = None
        self._windowed: set[Path] = set()
        self.state.update(first_state(self.scene))
        self._offer_screenshots()
        self._select(0)
        self._connect()

    @property
    def areas(self) -> list[Any]:
        """All picture areas."""
        return [self.threed, self.novel, self.acquired, self.slice]

    async def run(self) -> None:
        """Serve pictures, playback and background work until cancelled."""
        work = [area.run() for area in self.areas]
        work += [self.playback.run(), self._watch_novel()]
        if self.acquired.frames is not None:
            work.append(self.acquired.frames.load(self._acquired_loaded, self._report))
        await asyncio.gather(*work)

    def stop(self) -> None:
        """End background work, so that its threads end."""
        self.movies.stop()
        if self.acquired.frames is not None:
            self.acquired.frames.cancel()

    # ------------------------------------------------------------------ results and time
    def _connect(self) -> None:
        change, trigger = self.state.change, self._server.controller
        change("show_volume", "show_surface", "arrival_colors", "preset")(self._on_look)
        change("orientation", "slice_map")(self._on_slice)
        change("window", "inverted")(self._on_window)
        change("show_acquired")(self._on_acquired)
        change("playing", "speed")(self._on_playing)
        trigger.select_result = self.select_result
        trigger.set_time = self.set_time
        trigger.set_angles = self.set_angles
        trigger.set_follow = self.set_follow
        trigger.aim_camera = self._aim_camera
        trigger.set_slice_offset = self._set_slice_offset
        trigger.reset_view = self._reset_view
        trigger.clear_points = self._clear_points
        trigger.make_movie = self.movies.start
        trigger.stop_movie = self.movies.stop

    async def select_result(self, number: int) -> None:
        """Show another result at the same time and from the same camera."""
        number = int(number)
        if number == self.scene.selected or not 0 <= number < len(self.scene.results):
            return
        with self.state:
            self.state.busy = f"Opening {self.scene.names[number]} ..."
        await asyncio.sleep(0.05)  # the page shows it before the loading begins
        try:
            with self.state:
                self._select(number)
                self.state.notice = ""
        except DSAReconError as error:
            self._report(str(error))
            with self.state:
                self.state.notice = f"This result cannot be opened: {public_message(error)}."
        finally:
            with self.state:
                self.state.busy, self.state.result = "", self.scene.selected

    def _select(self, number: int) -> None:
        client = self._servers.of(self.scene.results[number].folder)
        former = self.state.time_s if self.scene.loaded else None
        self.scene.select(number)
        self.threed.watch_camera()
        self.state.update(result_state(self.scene))
        start, end = self.scene.time_range_s
        self.set_time(min(max(self.scene.time_s if former is None else former, start), end))
        self.novel.use(client)
        volumes = self.scene.current.slice_volumes()
        self.state.slice_maps = list(volumes)
        if self.state.slice_map not in volumes:
            self.state.slice_map = next(iter(volumes))
        self.state.result = number
        self._on_look()
        self._on_slice()
        self._update_acquired()
        self._update_plot()
        self._show_angles()

    def set_time(self, time_s: float) -> None:
        """Show a time everywhere."""
        time_s = float(time_s)
        with self.state:
            self.state.time_s = round(time_s, 4)
            self.novel.time_s = self.viewpoint.time_s = time_s
            self.acquired.show(time_s)
            if self.scene.select_time(time_s):
                self.threed.moved()
            if self.viewpoint.follow == FOLLOW_RUN:
                self._show_angles()

    def _on_playing(self, playing: bool, speed: float, **_: Any) -> None:
        self.playback.speed = float(speed)
        self.playback.play(bool(playing) and not self.state.is_static)

    # ------------------------------------------------------------------ look
    def _on_look(self, **_: Any) -> None:
        nodes, state = self.scene.current.nodes, self.state
        display.show_volume(nodes, bool(state.show_volume))
        display.show_surface(nodes, bool(state.show_surface))
        display.color_surface(nodes, "arrival_time" if state.arrival_colors else "plain")
        if display.current_preset(nodes) != state.preset:
            display.apply_preset(self.scene.context, nodes, state.preset)
        self.threed.refresh()

    def _on_slice(self, **_: Any) -> None:
        view, state = self.scene.slices, self.state
        if view.get_orientation() != state.orientation:
            view.set_orientation(state.orientation)
        volume = self.scene.current.slice_volumes().get(state.slice_map)
        changed = volume is not None and view.get_background_volume_id() != volume.GetID()
        if changed or state.orientation != getattr(self, "_fitted", None):
            display.show_in_slices(self.scene.context, volume)
            view.fit_view_to_content()
            self._fitted = state.orientation
        low, high = view.get_slice_range()
        state.slice_range, state.slice_step = (
            [round(low, 2), round(high, 2)],
            max(round(view.get_slice_step(), 3), 0.05),
        )
        self._slice_moved()
        self.slice.refresh()

    def _set_slice_offset(self, offset_mm: float) -> None:
        self.scene.slices.set_slice_value(float(offset_mm))
        self.slice.refresh()

    def _slice_moved(self) -> None:
        offset = round(float(self.scene.slices.get_slice_value()), 2)
        if offset != self.state.slice_offset:
            with self.state:
                self.state.slice_offset = offset

    def _on_window(self, **_: Any) -> None:
        low, high = (float(value) for value in self.state.window)
        for area in (self.novel, self.acquired):
            area.set_window(low, high, inverted=bool(self.state.inverted))

    # ------------------------------------------------------------------ viewpoint
    def set_angles(self, primary_deg: float, secondary_deg: float) -> None:
        """Let the novel view look from C-arm angles."""
        self.viewpoint.set_angles(float(primary_deg), float(secondary_deg))
        with self.state:
            self.state.follow = self.viewpoint.follow
            self._show_angles()

    def set_follow(self, follow: str) -> None:
        """Let the novel view follow the camera, the angles or the run."""
        angles = self.viewpoint.angles_deg
        self.viewpoint.follow = follow
        self.viewpoint.primary_deg, self.viewpoint.secondary_deg = angles
        with self.state:
            self.state.follow = follow
            self._show_angles()

    def _novel_dragged(self, right: float, up: float) -> None:
        self.threed.turned = True
        self.viewpoint.drag(right, up)
        with self.state:
            self.state.follow = self.viewpoint.follow
            self._show_angles()

    def _novel_wheel(self, spin: float) -> None:
        self.viewpoint.wheel(spin)

    def _novel_clicked(self, pose: ViewPose, at: tuple[float, float]) -> None:
        self._add_point_or_say(self.scene.current.picker.under_ray(*ray_of_pose(pose, at, self.novel.size)))

    def _camera_moved(self) -> None:
        if self.viewpoint.follow == FOLLOW_CAMERA:
            self._show_angles()

    def _aim_camera(self) -> None:
        self.threed.look_from(*self.viewpoint.angles_deg)

    def _reset_view(self) -> None:
        self.threed.look_from(0.0, 0.0)
        self.viewpoint.zoom = 1.0
        self.slice.view.fit_view_to_content()
        self.threed.moved()
        self.slice.refresh()

    def _show_angles(self) -> None:
        primary, secondary = self.viewpoint.angles_deg
        shown = round(primary), round(secondary)
        if shown != self._angles_shown:
            self._angles_shown = shown
            with self.state:
                self.state.primary_deg, self.state.secondary_deg = shown
                self.state.angle_text = angle_text(primary, secondary)

    # ------------------------------------------------------------------ points
    def _add_point_or_say(self, point: Point | None) -> None:
        found = point is not None and self.points.add(point)
        with self.state:
            self.state.notice = "" if found else _NO_VESSEL
            if found:
                self._update_plot()

    def _add_slice_point(self, point: Point) -> None:
        self._add_point_or_say(point)

    def _clear_points(self) -> None:
        self.points.clear()
        self._update_plot()
        self.state.notice = ""

    def _update_plot(self) -> None:
        self.state.plot, self.state.points = self.points.plot(), len(self.points)
        for area in (self.threed, self.slice):
            area.refresh()

    # ------------------------------------------------------------------ novel view and acquired frame
    async def _watch_novel(self) -> None:
        """Take the display window when a server is ready, and show problems."""
        while True:
            client = self.novel.client
            info = None if client is None else client.info
            folder = self.scene.result.folder
            if info is not None and folder not in self._windowed:
                self._windowed.add(folder)
                if len(self._windowed) == 1:
                    low, high = (float(value) for value in info["value_range"])
                    with self.state:
                        self.state.window_limit = round(_WINDOW_HEADROOM * high, 3)
                        self.state.window = [round(low, 3), round(high, 3)]
            at_rest = self.threed.at_rest and self.novel.at_rest
            if at_rest != self.state.at_rest:
                with self.state:
                    self.state.at_rest = at_rest
            problem = client is not None and client.ended and client.problem()
            shown = "The novel view has stopped: its renderer ended (the terminal says more)." if problem else ""
            if shown != self.state.novel_problem:
                if problem:
                    self._report(str(problem))
                with self.state:
                    self.state.novel_problem = shown
            await asyncio.sleep(_WATCH_S)

    def _acquired_loaded(self) -> None:
        with self.state:
            self._update_acquired()

    def _update_acquired(self) -> None:
        frames = self.acquired.frames
        self.state.acquired_reason = "" if frames is None else frames.reason_for(self.scene.result)
        if self.state.acquired_reason:
            self.state.show_acquired = False

    def _on_acquired(self, show_acquired: bool, **_: Any) -> None:
        self.acquired.visible = bool(show_acquired)
        if show_acquired and self.viewpoint.follow != FOLLOW_RUN:
            self.set_follow(FOLLOW_RUN)
        self.acquired.refresh()

    # ------------------------------------------------------------------ downloads
    def _offer_screenshots(self) -> None:
        self.state.screenshots = [
            {"title": "3D view", "url": self.downloads.offer("3d-view.png", lambda: png(self.threed.sharp_picture()))},
            {"title": "Novel view", "url": self.downloads.offer("novel-view.png", lambda: png(self.novel.picture()))},
            {"title": "Slice", "url": self.downloads.offer("slice.png", lambda: png(self.slice.picture()))},
        ]

    def tell(self, message: str) -> None:
        """Print a message in the terminal."""
        self._report(message)
