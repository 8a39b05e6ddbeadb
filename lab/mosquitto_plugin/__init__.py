"""The plugin by which Mosquitto disconnects clients and enforces policies as AWS IoT Core does, and how it is built."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.errors import LabError

NAME = "aws_iot.so"
SOURCES = tuple(sorted(Path(__file__).parent.glob("*.c")))
_INPUTS = (*SOURCES, *Path(__file__).parent.glob("*.h"))
# What the plugin's source and what it asks for say: a publish to this topic, by this user.
TOPIC = "$CONTROL/delete-connection/v1"
USER = "DeleteConnection"
# Which file of which Debian package compiling it needs, beside the compiler.
HEADERS = {
    Path("/usr/include/mosquitto.h"): "libmosquitto-dev",
    Path("/usr/include/mosquitto_plugin.h"): "mosquitto-dev",
    Path("/usr/include/string.h"): "libc6-dev",
}


def build(plugin: Path) -> None:
    """Compile the plugin, unless a newer one than its sources is there.

    Raises:
        LabError: it cannot be compiled.
    """
    if plugin.exists() and plugin.stat().st_mtime >= max(path.stat().st_mtime for path in _INPUTS):
        return
    unready = plugin.with_name(f"{plugin.name}.new")
    command = ["tcc", "-shared", "-Wall", "-o", str(unready), *map(str, SOURCES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{plugin.name}: cannot be compiled: {' '.join(done.stderr.split())}")
    unready.replace(plugin)
