"""``dsarecon info``: versions, devices and kernels, for a bug report; parameters of the methods."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
from typing import TYPE_CHECKING, Any

from DSAReconLib.methods.registry import METHODS, method_entry

if TYPE_CHECKING:
    from DSAReconLib.cli.console import Console

HELP = "show versions, devices and kernels (for a bug report), or the parameters of a method"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsarecon info``."""
    parser.add_argument("--method", choices=tuple(METHODS), help="list the parameters and presets of a method")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the report."""
    content = _method_report(args.method) if args.method else _environment_report()
    if args.json:
        console.out(json.dumps(content, indent=1))
    elif args.method:
        console.out(_method_text(content))
    else:
        console.out(_environment_text(content))
    return 0


def _environment_report() -> dict[str, Any]:
    from DSAReconLib.jobs.environment import machine, versions

    return {
        "versions": versions(),
        "machine": machine(),
        "devices": _devices(),
        "kernels": {
            "cpu (numba)": importlib.util.find_spec("numba") is not None,
            "autograd (torch)": importlib.util.find_spec("torch") is not None,
            "cuda (torch with CUDA)": len(_devices()) > 1,
        },
        "methods": {entry.name: entry.summary for entry in METHODS.values()},
    }


def _devices() -> list[dict[str, Any]]:
    from DSAReconLib.jobs.resources import cuda_device_count

    devices: list[dict[str, Any]] = [{"name": "cpu"}]
    for index in range(cuda_device_count()):
        import torch

        properties = torch.cuda.get_device_properties(index)
        memory_gb = round(properties.total_memory / 1e9, 1)
        devices.append({"name": f"cuda:{index}", "model": properties.name, "memory_gb": memory_gb})
    return devices


def _environment_text(content: dict[str, Any]) -> str:
    lines = [f"{name:<20} {version or 'not installed'}" for name, version in content["versions"].items()]
    lines += ["", *(f"{name:<20} {value}" for name, value in content["machine"].items()), ""]
    for device in content["devices"]:
        details = f"{device['model']}, {device['memory_gb']} GB" if "model" in device else ""
        lines.append(f"{'device':<20} {device['name']} {details}".rstrip())
    lines += [f"{name:<20} {'yes' if there else 'no'}" for name, there in content["kernels"].items()]
    lines += ["", *(f"{'method ' + name:<20} {summary}" for name, summary in content["methods"].items())]
    return "\n".join(lines)


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
