"""docruns compared with its alternatives: one harness, one corpus, the same rows as output.

bench.py [work] [wire] [growth] [second] [archive]     default: all; 30 to 40 minutes on two idle cores
    --runs N        runs of the largest load; the sizes of all others follow from it
    --repeat K      repetitions of short measurements
    --rivals a,b    folders below rivals/, or none
    --cache FOLDER  folder for corpora and the rivals' environments
    --print         do not write the results

The figures are written between the marks of RESULTS.md and into results.json. The program exits with 1 when a
bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    # import from tests/ instead of the script's folder
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks import archive, growth, second, wire, work
from benchmarks.cache import Cache
from benchmarks.contenders import CONTENDERS, Bench
from benchmarks.report import ORDER, Section, markdown, write

HERE = Path(__file__).parent


MEASURES: dict[str, Callable[[Bench], Section]] = {
    "work": work.measure,
    "wire": wire.measure,
    "growth": growth.measure,
    "second": second.measure,
    "archive": archive.measure,
}
assert tuple(MEASURES) == ORDER


def main() -> int:
    """Measure, print and write the results."""
    folders = sorted({rival.folder for rival in CONTENDERS})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measure", nargs="*", metavar="MEASURE")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rivals", help=f"{', '.join(folders)}; none")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache")
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    rivals = None if asked.rivals is None else set(asked.rivals.split(",")) - {"none", ""}
    if unknown := set(asked.measure) - MEASURES.keys() | (rivals or set()) - set(folders):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    cache = Cache(asked.cache.absolute())
    bench = Bench(cache, asked.runs, asked.repeat, rivals)
    started = time.monotonic()
    sections = []
    for name, measure in MEASURES.items():
        if name in (asked.measure or MEASURES):
            sections.append(measure(bench))
            if not asked.only_print:
                # write after each measurement, so that no figures are lost
                write(sections)
    broken = [bound for section in sections for bound in section.bounds if bound.holds is False]
    minutes = (time.monotonic() - started) / 60
    print(f"\n{markdown(sections)}\n")
    print(f"{len(broken)} bounds broken, {minutes:.0f} minutes", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
