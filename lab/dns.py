"""Faults of name servers and the resolver, on purpose."""

from __future__ import annotations

from lab import configuration, files, readiness, supervisor, topology


def clamp_ttl(seconds: int) -> None:
    """Have the resolver keep every answer for at least so many seconds, as bad resolvers do; 0 ends it.

    The resolver's cache is cleared. `python -m lab up` ends the clamping too.
    """
    for file in configuration.resolver_files(topology.state_directory(), minimum_ttl=seconds):
        files.write(file.path, file.content)
    supervisor.update()
    readiness.wait_for_program(topology.RESOLVER.name)
