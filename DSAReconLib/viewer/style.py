"""Look of the page: dark as an angiography suite, every pane with its label and units."""

from __future__ import annotations

from typing import Any

_SLIDER = {"density": "compact", "hideDetails": True, "color": "primary", "thumbSize": 12, "trackSize": 2}

VUETIFY: dict[str, Any] = {
    "theme": {
        "defaultTheme": "suite",
        "themes": {
            "suite": {
                "dark": True,
                "colors": {
                    "background": "#0b0e13",
                    "surface": "#141922",
                    "primary": "#4fc3f7",
                    "secondary": "#90a4ae",
                    "warning": "#ffb74d",
                },
            }
        },
    },
    "defaults": {
        "VSlider": _SLIDER,
        "VRangeSlider": {
            "density": "compact",
            "hideDetails": True,
            "color": "primary",
            "thumbSize": 12,
            "trackSize": 2,
        },
        "VSelect": {"density": "compact", "hideDetails": True, "variant": "outlined"},
        "VSwitch": {"density": "compact", "hideDetails": True, "color": "primary", "inset": True},
        "VBtn": {"size": "small", "variant": "text"},
    },
}

CSS = """
html, body { overflow: hidden; background: #0b0e13; }
.page { display: grid; grid-template: 44px minmax(0, 1fr) 58px / 268px minmax(0, 1fr); height: 100vh; width: 100vw;
  gap: 1px; background: #222a36;
  font-size: 12.5px; color: #d7dde6; }
.bar { grid-column: 1 / 3; display: flex; align-items: center; gap: 12px; padding: 0 14px; background: #141922; }
.brand { font-weight: 600; font-size: 15px; letter-spacing: .02em; color: #fff; }
.brand span { color: #4fc3f7; }
.facts { color: #8b98a9; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.side { background: #10151d; overflow-y: auto; padding: 6px 14px 12px; }
.side h3 { font-size: 11px; font-weight: 600; letter-spacing: .08em; text-transform: uppercase; color: #8b98a9;
  margin: 14px 0 6px; }
.side .v-switch .v-label, .side .v-select { font-size: 12.5px; }
.side .v-switch { margin: -7px 0; }
.side .v-switch .v-selection-control__wrapper { transform: scale(.72); transform-origin: left center;
  width: 46px; margin-left: 2px; }
.side .v-switch .v-switch__track { margin-left: 0; }
.side .v-switch .v-selection-control { justify-content: flex-start; }
.page .v-btn { text-transform: none; letter-spacing: normal; }
.page .v-field__input { font-size: 12.5px; min-height: 32px; padding-top: 5px; padding-bottom: 5px; }
.page .v-field { --v-field-padding-start: 10px; }
.v-list-item-title { font-size: 13px; }
.row { display: grid; grid-template-columns: minmax(0, 1fr) auto; align-items: center; margin-top: 7px; }
.row .name { color: #aab4c2; white-space: nowrap; }
.row .value { font-variant-numeric: tabular-nums; white-space: nowrap; }
.row .v-input { grid-column: 1 / 3; grid-row: 2; height: 24px; margin: 0 5px; }
.hint { color: #8b98a9; font-size: 11.5px; line-height: 1.35; margin: 4px 0; }
.views { display: grid;
  grid-template: minmax(0, 1.15fr) minmax(0, 1fr) / minmax(0, 1.15fr) minmax(0, .9fr) minmax(0, .9fr);
  gap: 1px; background: #222a36; min-height: 0; min-width: 0; }
.pane { position: relative; overflow: hidden; background: #07090d; min-width: 0; min-height: 0; }
.pane.tall { grid-row: 1 / 3; }
.pane.wide { grid-column: 2 / 4; }
.tag { position: absolute; left: 10px; top: 8px; pointer-events: none; z-index: 3; padding: 1px 7px; border-radius: 3px;
  background: rgba(7, 9, 13, .62); color: #e6ebf2; font-weight: 500; white-space: nowrap; }
.tag.right { left: auto; right: 10px; font-variant-numeric: tabular-nums; font-weight: 400; }
.tag.low { top: auto; bottom: 8px; font-weight: 400; color: #aab4c2; }
.message { position: absolute; inset: 0; display: flex; align-items: center; justify-content: center;
  text-align: center;
  padding: 30px; color: #8b98a9; z-index: 2; pointer-events: none; }
.legend { position: absolute; left: 10px; bottom: 10px; width: 190px; z-index: 3; pointer-events: none;
  padding: 5px 8px;
  border-radius: 3px; background: rgba(7, 9, 13, .62); }
.legend .colors { height: 8px; border-radius: 2px; margin: 3px 0; }
.legend .ends { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.pane.curves { display: flex; flex-direction: column; padding: 34px 18px 30px 58px; }
.plot { position: relative; flex: 1; min-height: 0; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot .x, .plot .y { position: absolute; color: #8b98a9; font-size: 11px; font-variant-numeric: tabular-nums; }
.plot .x { bottom: -19px; transform: translateX(-50%); white-space: nowrap; }
.plot .y { right: calc(100% + 7px); transform: translateY(-50%); white-space: nowrap; }
.plot .now { position: absolute; top: 0; bottom: 0; width: 1px; background: #ffb74d; }
.key { margin: 0 0 8px -46px; font-size: 11.5px; display: grid; gap: 1px; flex: none; max-height: 45%;
  overflow-y: auto; }
.clear-points { position: absolute !important; right: 8px; top: 6px; z-index: 4; }
.key .swatch { display: inline-block; width: 14px; height: 3px; vertical-align: middle; margin-right: 6px; }
.time { grid-column: 1 / 3; display: flex; align-items: center; gap: 12px; padding: 0 16px 0 10px;
  background: #141922; }
.time .now { font-variant-numeric: tabular-nums; min-width: 120px; text-align: right; }
.movie-download { display: block; margin-top: 10px; padding: 6px; border-radius: 4px; text-align: center;
  background: #1f3a4a; color: #4fc3f7; text-decoration: none; font-size: 13px; }
.notice { position: absolute; bottom: 70px; left: 50%; transform: translateX(-50%); z-index: 30; background: #263041;
  padding: 7px 16px; border-radius: 4px; }
.busy { position: absolute; inset: 0; z-index: 40; display: flex; flex-direction: column; gap: 14px;
  align-items: center; justify-content: center; background: rgba(7, 9, 13, .7); font-size: 14px; }
.remote-controlled-area img { user-select: none; }
"""
