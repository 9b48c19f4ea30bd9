"""The page: bar, controls on the left, four views, time below."""

from __future__ import annotations

from typing import Any

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v3
from trame_client.widgets.core import AbstractElement
from trame_rca.widgets.rca import RemoteControlledArea

from DSAReconLib.viewer.movies import KINDS
from DSAReconLib.viewer.state import FOLLOW_ANGLES, FOLLOW_CAMERA, FOLLOW_RUN
from DSAReconLib.viewer.style import CSS, VUETIFY

_FOLLOW = {FOLLOW_CAMERA: "3D view", FOLLOW_ANGLES: "Angles", FOLLOW_RUN: "As acquired"}
_FOLLOW_TIPS = {
    FOLLOW_CAMERA: "The novel view looks from where the 3D view looks",
    FOLLOW_ANGLES: "The novel view looks from the C-arm angles below",
    FOLLOW_RUN: "The C-arm turns with time as it did in the run",
}


def build_page(server: Any) -> Any:
    """Make the page of a server whose state and controller are those of :class:`~DSAReconLib.viewer.app.Viewer`."""
    with VAppLayout(server, vuetify_config=VUETIFY) as layout:
        client.Style(CSS)
        with html.Div(classes="page"):
            _bar(server)
            with html.Div(classes="side"):
                _display_controls()
                _novel_controls(server)
                _slice_controls(server)
            with html.Div(classes="views"):
                _threed_pane()
                _novel_pane()
                _acquired_pane()
                _slice_pane()
                _plot_pane(server)
            _time_bar(server)
        html.Div("{{ notice }}", classes="notice", v_if=("notice",))
        with html.Div(classes="busy", v_if=("busy",)):
            v3.VProgressCircular(indeterminate=True, color="primary")
            html.Div("{{ busy }}")
    return layout


# ---------------------------------------------------------------------- bar
def _bar(server: Any) -> None:
    with html.Div(classes="bar"):
        html.Div("DSA<span>Recon</span>", classes="brand")
        v3.VSelect(
            classes="result-select",
            v_if=("results.length > 1",),
            model_value=("result",),
            update_modelValue=(server.controller.select_result, "[$event]"),
            items=("results",),
            style="max-width: 290px",
        )
        html.Div("{{ results[0].title }}", v_else=True)
        html.Div("{{ facts }}", classes="facts")
        v3.VSpacer()
        v3.VBtn("Reset views", prepend_icon="mdi-fit-to-screen-outline", click=server.controller.reset_view)
        _screenshot_menu()
        _movie_menu(server)


def _screenshot_menu() -> None:
    with v3.VMenu():
        with v3.Template(v_slot_activator="{ props }"):
            v3.VBtn("Screenshot", v_bind="props", prepend_icon="mdi-camera-outline")
        with v3.VList(density="compact"):
            v3.VListItem(
                v_for="item in screenshots",
                key="item.url",
                title=("item.title",),
                subtitle="PNG",
                href=("item.url",),
                raw_attrs=["download"],  # without it the browser leaves the page, and trame closes the connection
            )


def _movie_menu(server: Any) -> None:
    with v3.VMenu(close_on_content_click=False):
        with v3.Template(v_slot_activator="{ props }"), v3.VBtn(v_bind="props", prepend_icon="mdi-movie-open-outline"):
            html.Span("{{ movie.state === 'making' ? `Movie ${movie.percent} %` : 'Movie' }}")
        with v3.VCard(width=300, classes="pa-3"):
            html.Div("Movie of the novel view", style="font-weight: 600; margin-bottom: 8px")
            for kind, title in KINDS.items():
                with html.Div(style="display: flex; align-items: center; gap: 8px"):
                    html.Span(title, style="flex: 1")
                    v3.VBtn(
                        "{{ suffix.slice(1).toUpperCase() }}",
                        v_for="suffix in movie_formats",
                        key="suffix",
                        classes=f"movie-{kind}",
                        variant="tonal",
                        disabled=("movie.state === 'making'",),
                        click=(server.controller.make_movie, f"['{kind}', suffix]"),
                    )
            with html.Div(v_if=("movie.state === 'making'",), style="margin-top: 10px"):
                v3.VProgressLinear(model_value=("movie.percent",), color="primary", height=5)
                v3.VBtn("Cancel", click=server.controller.stop_movie, block=True)
            html.A(
                "Download {{ movie.name }}",
                v_if=("movie.state === 'done'",),
                href=("movie.url",),
                raw_attrs=["download"],
                classes="movie-download",
            )
            html.Div("{{ movie.name }}", v_if=("movie.state === 'failed'",), classes="hint")


# ---------------------------------------------------------------------- controls
def _display_controls() -> None:
    html.H3("3D view")
    v3.VSwitch(v_model=("show_volume",), label="Volume rendering")
    v3.VSwitch(v_model=("show_surface",), label="Vessel surface", disabled=("!has_surface",))
    v3.VSwitch(
        v_model=("arrival_colors",),
        label="Color by arrival time",
        disabled=("!show_surface || !arrival_range.length",),
    )
    v3.VSelect(v_model=("preset",), items=("presets",), label="Look of the volume", style="margin-top: 10px")


def _novel_controls(server: Any) -> None:
    html.H3("Novel view")
    with v3.VBtnToggle(
        model_value=("follow",),
        update_modelValue=(server.controller.set_follow, "[$event]"),
        mandatory=True,
        density="compact",
        color="primary",
        variant="outlined",
        divided=True,
        style="width: 100%; height: 28px",
    ):
        for value, title in _FOLLOW.items():
            v3.VBtn(title, value=value, title=_FOLLOW_TIPS[value], size="x-small", style="flex: 1")
    _angle_row(server, "LAO / RAO", "primary_deg", 180, "[$event, secondary_deg]", ("LAO", "RAO"))
    _angle_row(server, "CRA / CAU", "secondary_deg", 85, "[primary_deg, $event]", ("CRA", "CAU"))
    v3.VBtn(
        "Aim the 3D view here",
        prepend_icon="mdi-crosshairs-gps",
        disabled=(f"follow === '{FOLLOW_CAMERA}'",),
        click=server.controller.aim_camera,
        block=True,
        variant="tonal",
    )
    with html.Div(classes="row"):
        html.Span("Window", classes="name", title="Line integrals at both ends of the grey scale")
        v3.VRangeSlider(v_model=("window",), min=0, max=("window_limit",), step=0.01)
        html.Span("{{ window[0].toFixed(1) }} to {{ window[1].toFixed(1) }}", classes="value")
    v3.VSwitch(v_model=("inverted",), label="Light vessels on dark")
    v3.VSwitch(
        v_model=("show_acquired",),
        label="Acquired frame beside it",
        disabled=("!!acquired_reason",),
        classes="acquired",
    )
    html.Div("{{ acquired_reason }}", v_if=("acquired_reason",), classes="hint")


def _angle_row(server: Any, name: str, key: str, limit: int, arguments: str, signs: tuple[str, str]) -> None:
    with html.Div(classes="row"):
        html.Span(name, classes="name")
        v3.VSlider(
            model_value=(key,),
            update_modelValue=(server.controller.set_angles, arguments),
            min=-limit,
            max=limit,
            step=1,
            classes=key,
        )
        html.Span(f"{{{{ {key} >= 0 ? '{signs[0]}' : '{signs[1]}' }}}} {{{{ Math.abs({key}) }}}}°", classes="value")


def _slice_controls(server: Any) -> None:
    html.H3("Slice")
    v3.VSelect(v_model=("slice_map",), items=("slice_maps",), label="Shows")
    with html.Div(style="height: 10px"):
        pass
    v3.VSelect(v_model=("orientation",), items=("orientations",), label="Orientation")
    with html.Div(classes="row"):
        html.Span("Position", classes="name")
        v3.VSlider(
            model_value=("slice_offset",),
            update_modelValue=(server.controller.set_slice_offset, "[$event]"),
            min=("slice_range[0]",),
            max=("slice_range[1]",),
            step=("slice_step",),
        )
        html.Span("{{ slice_offset.toFixed(1) }} mm", classes="value")


# ---------------------------------------------------------------------- views
def _area(name: str) -> None:
    RemoteControlledArea(
        name=name,
        display="image",
        send_mouse_move=True,
        event_throttle_ms=16,
        image_style=("{ width: '100%', height: '100%' }",),
    )


def _threed_pane() -> None:
    with html.Div(classes="pane tall threed"):
        _area("threed")
        html.Div("3D view", classes="tag")
        html.Div("{{ time_s.toFixed(2) }} s", classes="tag right", v_if=("!is_static",))
        with html.Div(classes="legend", v_if=("show_surface && arrival_colors && arrival_range.length",)):
            html.Div("Arrival time of the contrast")
            html.Div(classes="colors", style=("{ background: arrival_gradient }",))
            with html.Div(classes="ends"):
                html.Span("{{ arrival_range[0] }} s")
                html.Span("{{ arrival_range[1] }} s")


def _novel_pane() -> None:
    with html.Div(classes=("show_acquired ? 'pane novel' : 'pane wide novel'",)):
        _area("novel")
        html.Div("Novel view", classes="tag")
        html.Div("{{ angle_text }} · {{ time_s.toFixed(2) }} s", classes="tag right")
        html.Div("{{ novel_problem }}", classes="message", v_if=("novel_problem",))


def _acquired_pane() -> None:
    with html.Div(classes="pane acquired", v_if=("show_acquired",)):
        _area("acquired")
        html.Div("Acquired", classes="tag")
        html.Div("{{ angle_text }}", classes="tag right")


def _slice_pane() -> None:
    with html.Div(classes="pane slice"):
        _area("slice")
        html.Div("{{ orientation }}", classes="tag")
        html.Div("{{ slice_map }}", classes="tag right")
        html.Div("{{ slice_offset.toFixed(1) }} mm", classes="tag low")


def _plot_pane(server: Any) -> None:
    with html.Div(classes="pane curves"):
        html.Div("Attenuation (1/mm) over time (s)", classes="tag")
        html.Div("Click on a vessel in any view to see its curve.", classes="message", v_if=("!points",))
        with html.Div(classes="key", v_if=("points",)):
            with html.Div(
                v_for="(curve, i) in plot.curves", key="i", v_show=("curve.main",), title=("curve.position",)
            ):
                html.Span(classes="swatch", style=("{ background: curve.color }",))
                html.Span("{{ curve.label }}: {{ curve.facts }}")
            html.Div("Dashed: other opened results", classes="hint", v_if=("plot.curves.some((curve) => !curve.main)",))
        with html.Div(classes="plot", v_if=("points",)):
            _plot_drawing()
        v3.VBtn("Clear", v_if=("points",), size="x-small", click=server.controller.clear_points, classes="clear-points")


def _plot_drawing() -> None:
    html.Span(
        "{{ tick.text }}",
        v_for="tick in plot.time_ticks",
        key="`x${tick.at}`",
        classes="x",
        style=("{ left: tick.at + '%' }",),
    )
    html.Span(
        "{{ tick.text }}",
        v_for="tick in plot.value_ticks",
        key="`y${tick.at}`",
        classes="y",
        style=("{ top: 100 - tick.at + '%' }",),
    )
    still = 'vector-effect="non-scaling-stroke"'  # the drawing is stretched, its lines are not
    with AbstractElement("svg", raw_attrs=['viewBox="0 0 100 100"', 'preserveAspectRatio="none"']):
        across = [':y1="100 - tick.at"', ':y2="100 - tick.at"', 'x1="0"', 'x2="100"', 'stroke="#222a36"']
        each_tick = ['v-for="tick in plot.value_ticks"', ':key="`l${tick.at}`"']
        AbstractElement("line", raw_attrs=[*each_tick, *across, still])
        look = [':stroke="curve.color"', ':stroke-dasharray="curve.dash"', 'fill="none"', 'stroke-width="1.8"']
        each_curve = ['v-for="(curve, i) in plot.curves"', ':key="`c${i}`"', ':points="curve.points"', 'class="curve"']
        AbstractElement("polyline", raw_attrs=[*each_curve, *look, still])
    html.Div(classes="now", style=("{ left: 100 * (time_s - time_start) / (time_end - time_start) + '%' }",))


# ---------------------------------------------------------------------- time
def _time_bar(server: Any) -> None:
    with html.Div(classes="time"):
        v3.VBtn(
            icon=("playing ? 'mdi-pause' : 'mdi-play'",),
            classes="play",
            size="default",
            variant="tonal",
            density="comfortable",
            color="primary",
            disabled=("is_static",),
            click="playing = !playing",
        )
        v3.VSelect(v_model=("speed",), items=("speeds",), style="max-width: 92px", title="Speed of playback")
        v3.VSlider(
            model_value=("time_s",),
            update_modelValue=(server.controller.set_time, "[$event]"),
            min=("time_start",),
            max=("time_end",),
            step=("time_step",),
            classes="time-slider",
        )
        html.Div("{{ time_s.toFixed(2) }} s of {{ time_end.toFixed(2) }} s", classes="now")
