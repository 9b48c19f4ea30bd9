"""Method configurations from presets and overrides."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import pytest

from DSAReconLib.errors import ConfigError
from DSAReconLib.methods import registry
from DSAReconLib.methods.parameters import build_config, config_to_dict, parameter


@dataclass(frozen=True, kw_only=True)
class Config:
    """Stand-in with one field of each kind."""

    size: int | None = parameter(None, "voxels per side", minimum=8)
    weight: float = parameter(0.5, "strength", unit="1/mm", minimum=0.0, maximum=1.0)
    window: str = parameter("hann", "apodization", choices=("hann", "none"))
    crop: bool = parameter(True, "crop the grid")


# dataclass fields carry their type as text only under postponed evaluation, as method configs do
@pytest.fixture(autouse=True)
def a_registered_method(monkeypatch):
    module = types.ModuleType("DSAReconLib.methods.standin.config")
    module.Config, module.PRESETS = Config, {"balanced": {}, "fast": {"weight": 0.25}}
    monkeypatch.setitem(sys.modules, "DSAReconLib.methods.standin.config", module)
    monkeypatch.setitem(sys.modules, "DSAReconLib.methods.standin", types.ModuleType("DSAReconLib.methods.standin"))
    monkeypatch.setitem(registry.METHODS, "standin", registry.MethodEntry("standin", "Stand-in", ""))


def test_a_preset_changes_the_defaults_and_overrides_win():
    assert build_config("standin", "fast").weight == 0.25
    assert build_config("standin", "fast", {"weight": "0.75"}).weight == 0.75


def test_text_is_converted_to_the_type_of_the_field():
    config = build_config("standin", overrides={"size": "64", "crop": "False", "window": "none", "weight": "1"})
    assert config_to_dict(config) == {"size": 64, "weight": 1.0, "window": "none", "crop": False}
    assert build_config("standin", overrides={"size": "none"}).size is None


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"sizes": "64"}, "no parameter 'sizes'"),
        ({"size": "2"}, "must lie in"),
        ({"size": "6.5"}, "of type int"),
        ({"weight": "abc"}, "of type float"),
        ({"weight": 2}, "must lie in"),
        ({"window": "box"}, "one of hann, none"),
        ({"crop": 1}, "of type bool"),
    ],
)
def test_unusable_values_are_refused_with_the_reason(overrides, reason):
    with pytest.raises(ConfigError, match=reason):
        build_config("standin", overrides=overrides)


def test_unknown_methods_and_presets_name_the_known_ones():
    with pytest.raises(ConfigError) as error:
        build_config("nosuch")
    assert "fdk" in error.value.hint
    with pytest.raises(ConfigError) as error:
        build_config("standin", "nosuch")
    assert "fast" in error.value.hint
