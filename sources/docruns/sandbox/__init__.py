"""A seeded, stateful simulation of the platforms on loopback, for demos, tests and benchmarks."""

from .faults import Fault
from .pool import Corpus
from .server import Sandbox, serve_forever
from .stats import Stats

__all__ = ["Corpus", "Fault", "Sandbox", "Stats", "serve_forever"]
