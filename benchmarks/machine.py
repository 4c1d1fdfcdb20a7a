"""Describes the machine and the versions that a benchmark ran on."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch


def machine(*packages, device="cpu"):
    """Returns the hardware and the versions of Python, torch and the packages."""
    if torch.device(device).type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        hardware = f"{_processor()}, {threads} thread{'s' * (threads > 1)}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", *packages))
    return f"{hardware}; Python {platform.python_version()}, {versions}"


def _processor():
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
