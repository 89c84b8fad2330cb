"""Wire: the complete command with a platform in another process, 50 ms away.

Then with a platform that allows 75 requests per second, with this limit as a setting.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.contenders import Bench, Rival
from benchmarks.processes import FailedError, Platform, Ran, environment, platform, run
from benchmarks.report import Row, Section, at_least, at_most, missing, ratio, row

LATENCY_S = 0.05
ALLOWED = 75
CPU_MS = {"heavy": 8.0, "light": 1.8}
"""Bounds for httpx, which takes 0.3 ms per request more than aiohttp alone."""
BOUNDS = (
    ("rest_api that flattens, the faster one", "rest_api", ("nested", "parquet"), 5.0),
    ("rest_api that lands blobs", "rest_api", ("blobs",), 2.5),
    ("the official client", "official_client", ("",), 25.0),
    ("Singer", "singer", ("",), 2.0),
    ("PyAirbyte", "pyairbyte", ("",), 2.0),
)


def command(folder: Path, platform: Platform, **settings: object) -> Ran:
    """Run the installed `docruns load extend` into folder/rows.duckdb; settings are dlt's."""
    docruns = Path(sys.executable).with_name("docruns")
    arguments: list[str | Path] = [docruns, "load", "extend", "--json"]
    arguments += ["--base-url", platform.base_url, "--database", folder / "rows.duckdb"]
    env = environment(folder)
    for name, value in settings.items():
        env[f"SOURCES__EXTEND__{name.upper()}"] = str(value)
    ran = run(arguments, folder, env)
    assert ran.told["complete"] and not ran.told["quarantined"], ran.told
    return ran


def measure(bench: Bench) -> Section:
    """Measure docruns with many runs, each rival with the runs that it loads in a minute, then the rate
    limit.

    The rate of docruns for a rival is its rate with few runs, measured directly before and after the rival,
    times the ratio of its rates with many and with few runs, measured next to each other.
    """
    section = Section("wire", "Wire: the whole command, 50 ms away, no rate limit")
    # the speed of a shared machine changes within minutes: each rival, and the many runs that it is
    # compared with, have a load of the same few runs directly before and after
    first = _beside(bench)
    heavy = _docruns(bench, section, "heavy", bench.runs, 1)
    beside = [_beside(bench)]
    gained = ratio(heavy.rate, row("", bench.runs // 5, [first, *beside]).rate)
    light = _docruns(bench, section, "light", bench.runs, 1)
    tenth = _docruns(bench, section, "heavy", bench.runs // 10, bench.repeat, "a tenth of them")
    few = max(20, bench.runs // 50)
    _docruns(bench, section, "heavy", few, bench.repeat, "as few as rivals are given")
    beside.append(_beside(bench))
    found: list[tuple[Rival, float | None]] = []
    for rival in bench.rivals:
        if rival.wire:
            theirs = section.add(_rival(bench, section, rival))
            beside.append(_beside(bench))
            ours = row("", bench.runs // 5, beside[-2:])
            found.append((rival, ratio(ours.rate, theirs.rate)))
    note = "beside the many, and before and after each rival"
    section.add(row("docruns, heavy", bench.runs // 5, [first, *beside], note))
    for what, folder, ways, least in BOUNDS:
        times = [of for v, of in found if v.folder == folder and v.way in ways and of is not None]
        if times and gained is not None:
            times = [gained * of for of in times]
            section.bind(at_least(f"docruns to {what}, heavy", min(times), least, " ×"))
    for size, took in (("heavy", heavy), ("light", light)):
        section.bind(at_most(f"CPU of a {size} run, imports included", took.cpu_ms, CPU_MS[size], " ms"))
    most = heavy.peak_mb
    section.bind(
        at_most("memory, heavy", most, 500, " MB"),
        at_most("memory, of all to that of a tenth", ratio(most, tenth.peak_mb), 1.2, " ×"),
    )
    _allowed(bench, section)
    return section


def _docruns(bench: Bench, section: Section, size: str, runs: int, repeat: int, note: str = "") -> Row:
    found = []
    for _ in range(repeat):
        with bench.cache.scratch() as folder, platform(runs, size, LATENCY_S) as served:
            found.append(command(folder, served))
    return section.add(row(f"docruns, {size}", runs, found, note))


def _beside(bench: Bench) -> Ran:
    with bench.cache.scratch() as folder, platform(bench.runs // 5, "heavy", LATENCY_S) as served:
        return command(folder, served)


def _rival(bench: Bench, section: Section, rival: Rival) -> Row:
    runs = rival.runs("wire", bench.runs)
    try:
        with bench.cache.scratch() as folder, platform(runs, "heavy", LATENCY_S) as served:
            truth = folder / "truth"
            served.set(latency=0.0)
            command(truth, served)
            served.set(latency=LATENCY_S)
            found = []
            for number in range(bench.repeat):
                here = folder / str(number)
                ran = bench.load(rival, here, "--base-url", served.base_url)
                said = bench.compared(rival, here, runs, ran, truth / "rows.duckdb")
                found.append(ran)
    except FailedError as error:
        return missing(rival.title, error)
    bench.check_rows(section, rival, said)
    return row(f"{rival.title}, heavy", runs, found, said)


def _allowed(bench: Bench, section: Section) -> None:
    """A load with the rate limit as a setting: it must use all allowed requests and leave a core idle."""
    runs = bench.runs
    with bench.cache.scratch() as folder, platform(runs, "heavy", LATENCY_S) as served:
        served.set(rate_limit=ALLOWED)
        ran = command(folder, served, requests_per_second=ALLOWED)
    told: dict[str, Any] = ran.told
    what = f"docruns, heavy, {ALLOWED} requests a second allowed"
    asked = f"{told['requests']:,} requests, {told['throttled_s']:.0f} s refused"
    section.add(row(what, runs, [ran], asked))
    least = told["requests"] / ALLOWED
    section.bind(
        at_most(f"wall to requests / {ALLOWED}, imports included", ran.wall_s / least, 1.03, " ×"),
        at_least("one core idle meanwhile", 100 * (1 - ran.cpu_s / ran.wall_s), 50, " %"),
    )
