"""Method configurations: frozen dataclasses from which JSON, command line and GUI are derived."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from DSAReconLib.errors import ConfigError
from DSAReconLib.methods.registry import method_entry


def parameter(
    default: Any,
    help: str,
    *,
    unit: str = "",
    source: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of a method's ``Config``: default, one help sentence, unit and where it comes from.

    ``source`` names the paper's equation or table, or says that the value is ours.
    """
    metadata = {"help": help, "unit": unit, "source": source}
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata | limits)


def build_config(method: str, preset: str = "balanced", overrides: Mapping[str, Any] | None = None) -> Any:
    """Config of a method: its defaults, the preset's values, then ``overrides`` (strings are parsed).

    Raises
    ------
    ConfigError
        Unknown preset or parameter, wrong type, or value out of range.
    """
    module = method_entry(method).config_module()
    if preset not in module.PRESETS:
        raise ConfigError(f"{method} has no preset {preset!r}.", hint=f"Choose one of: {', '.join(module.PRESETS)}.")
    values = dict(module.PRESETS[preset])
    fields = {field.name: field for field in dataclasses.fields(module.Config)}
    for name, value in (overrides or {}).items():
        if name not in fields:
            raise ConfigError(f"{method} has no parameter {name!r}.", hint=f"It has: {', '.join(fields)}.")
        values[name] = _converted(f"{method}.{name}", value, fields[name])
    return module.Config(**values)


def config_to_dict(config: Any) -> dict[str, Any]:
    """Plain values for ``run.json``."""
    return dataclasses.asdict(config)


def _converted(name: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    """``value`` (possibly text) as the field's type, within its range."""
    kind = str(field.type)
    optional = kind.endswith("| None")
    kind = kind.removesuffix("| None").strip()
    if isinstance(value, str) and kind != "str":
        try:
            value = json.loads(value.lower() if value.lower() in ("true", "false", "none", "null") else value)
        except json.JSONDecodeError:
            if not (optional and value.lower() == "none"):
                raise ConfigError(f"{name} must be of type {kind}; got {value!r}.") from None
            value = None
    if value is None and optional:
        return None
    expected: dict[str, Any] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
    if not isinstance(value, expected[kind]) or (kind != "bool" and isinstance(value, bool)):
        raise ConfigError(f"{name} must be of type {kind}; got {value!r}.")
    low, high = field.metadata.get("minimum"), field.metadata.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        unit = field.metadata.get("unit", "")
        raise ConfigError(f"{name} must lie in [{low}, {high}]{' ' if unit else ''}{unit}; got {value}.")
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
    return float(value) if kind == "float" else value
