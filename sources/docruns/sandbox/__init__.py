"""A seeded, stateful simulation of the platforms on loopback, for demos, tests and benchmarks."""

from .faults import Fault
from .server import Sandbox, serve_forever
from .stats import Stats

__all__ = ["Fault", "Sandbox", "Stats", "serve_forever"]
