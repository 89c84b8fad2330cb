"""The second load with nothing new: the cost of a job that runs every few minutes."""

from __future__ import annotations

import sys

from benchmarks.contenders import Bench
from benchmarks.processes import platform, run
from benchmarks.report import Section, at_most, ratio, row
from benchmarks.wire import LATENCY_S, command


def measure(bench: Bench) -> Section:
    """Measure a second load, and the import of dlt alone."""
    section = Section("second", "Second load: nothing is new, 50 ms away")
    runs = max(20, bench.runs // 10)
    with bench.cache.scratch() as folder, platform(runs, "light", 0.0) as served:
        command(folder, served)
        served.set(latency=LATENCY_S)
        again, imports = [], []
        for _ in range(max(5, bench.repeat)):
            again.append(command(folder, served))
            imports.append(run([sys.executable, "-c", "import dlt"], folder))
        assert not again[-1].told["fetched"], again[-1].told
        note = f"{again[-1].told['requests']} requests"
        second = section.add(row(f"docruns, light, {runs:,} runs loaded", 0, again, note))
        alone = section.add(row("python -c 'import dlt'", 0, imports))
    times = ratio(second.wall_s, alone.wall_s)
    section.bind(at_most("second load to `import dlt` alone", times, 3.2, " ×"))
    return section
