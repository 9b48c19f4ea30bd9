"""``dsarecon info``: versions, devices and kernels, for a bug report; parameters of the methods."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from DSAReconLib.methods.registry import METHODS, method_entry

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "show versions, devices and kernels (for a bug report), or the parameters of a method"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon info``."""
    parser.add_argument("--method", choices=tuple(METHODS), help="list the parameters and presets of a method")
    parser.add_argument("--test", action="store_true", help="try the kernels of every device (compiles them)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the report."""
    content = _method_report(args.method) if args.method else _environment_report(test=args.test)
    if args.json:
        console.out(json.dumps(content, indent=1))
    elif args.method:
        console.out(_method_text(content))
    else:
        console.out(_environment_text(content))
    return 0


def _environment_report(*, test: bool) -> dict[str, Any]:
    from DSAReconLib.jobs.environment import machine, versions
    from DSAReconLib.kernels.backend import available_backends

    report = {
        "versions": versions(),
        "machine": machine(),
        "devices": available_backends(),
        "methods": {entry.name: entry.summary for entry in METHODS.values()},
    }
    if test:
        from DSAReconLib.kernels.selftest import self_test_report

        usable = [name for name, state in report["devices"].items() if not state.startswith("not usable")]
        report["kernel test"] = {name: self_test_report(name) for name in usable}
    return report


def _environment_text(content: dict[str, Any]) -> str:
    blocks = []
    for title, entries in content.items():
        lines = [f"  {name:<20} {'not installed' if value is None else value}" for name, value in entries.items()]
        blocks.append("\n".join([title, *lines]))
    return "\n".join(blocks)


def _method_report(name: str) -> dict[str, Any]:
    entry = method_entry(name)
    module = entry.config_module()
    parameters = [
        {"name": field.name, "type": str(field.type), "default": field.default, **field.metadata}
        for field in dataclasses.fields(module.Config)
    ]
    return {
        "method": name,
        "title": entry.title,
        "summary": entry.summary,
        "presets": module.PRESETS,
        "parameters": parameters,
    }


def _method_text(content: dict[str, Any]) -> str:
    lines = [f"{content['title']}: {content['summary']}", ""]
    for entry in content["parameters"]:
        unit = f" {entry['unit']}" if entry.get("unit") else ""
        lines.append(f"  {entry['name']} = {entry['default']}{unit}")
        lines.append(f"      {entry.get('help', '')} [{entry.get('source') or 'our choice'}]")
    lines.append("")
    for name, values in content["presets"].items():
        changes = ", ".join(f"{key}={value}" for key, value in values.items()) or "the defaults above"
        lines.append(f"  preset {name}: {changes}")
    return "\n".join(lines)
