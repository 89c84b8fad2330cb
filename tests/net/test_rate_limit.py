"""The budget finds the allowed rate, uses it and shares it, mostly in simulated time."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docruns.core.errors import ConfigError
from docruns.net.rate_limit import LONGEST_PAUSE_S, Pace
from docruns.net.shared_budget import KEPT_ON_LOOPBACK_S, Budget
from docruns.sandbox import Sandbox
from support.limits import KINDS, Bucket, Limit, Window, ask, shares

WINDOW_S = 60


def climb_s(rate: float, start: float | None) -> float:
    """Seconds of growth from a start to a rate."""
    return max(0.0, math.log(rate / start) / 0.02) if start else 0.0


def holds(limit: Limit, rate: float, start: float | None, settle_s: float, **options: float) -> None:
    """After settling, each minute uses 95 % of the rate, with 1 % or one request refused."""
    settle_s += climb_s(rate, start)
    answers = ask(Budget(start=start), limit, settle_s + 300, **options)
    for minute in range(5):
        since = settle_s + minute * WINDOW_S
        found = shares(answers, rate, since, since + WINDOW_S)
        # at a few a minute, one more or less is much
        assert found.used >= 0.95 - 1 / (rate * WINDOW_S), (minute, found)
        assert found.refused <= 0.01 or found.refusals <= 1, (minute, found)


@pytest.mark.parametrize("start", [None, 10.0])
@pytest.mark.parametrize("rate", [5, 10, 75])
@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_is_found(kind: str, rate: float, start: float | None) -> None:
    """Each limit, counted in any way, is found within two minutes, and used."""
    holds(KINDS[kind](rate), rate, start, settle_s=100)


@pytest.mark.parametrize("rate", [2, 25, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_is_found_without_retry_after(kind: str, rate: float) -> None:
    """The same if a 429 has no Retry-After."""
    holds(KINDS[kind](rate), rate, None, settle_s=120, retry_after=False)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(KINDS)),
    st.floats(0, 1).map(lambda share: round(2 * 250**share)),
    st.floats(0.001, 0.3),
    st.sampled_from([None, 10.0]),
    st.integers(0, 1000),
)
def test_any_rate_is_found(kind: str, rate: int, latency: float, start: float | None, seed: int) -> None:
    """From 2 to 500 a second, at any latency: after settling, 95 % are used and 1 % refused."""
    # sixteen in flight must be able to ask for more than is allowed
    latency = min(latency, 10 / rate)
    settle_s = 150 + climb_s(rate, start)
    end = settle_s + (300 if rate < 50 else 100)
    answers = ask(Budget(start=start), KINDS[kind](rate), end, latency=latency, seed=seed)
    found = shares(answers, rate, settle_s, end)
    assert found.used >= 0.95
    assert found.refused <= 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_one_a_second_is_found(kind: str) -> None:
    """At one request a second settling takes longer, and one of fifty may be refused."""
    answers = ask(Budget(start=10.0), KINDS[kind](1), 900)
    found = shares(answers, 1, 300, 900)
    assert found.used >= 0.94
    assert found.refused <= 0.02


@pytest.mark.parametrize(
    ("limit", "rate"),
    [(Bucket(10, burst=1), 10), (Bucket(10, burst=50), 10), (Window(1.5, span=60), 1.5)],
    ids=["no burst", "large burst", "a minute"],
)
def test_unusual_limits_are_used(limit: Limit, rate: float) -> None:
    """A bucket of one token, one of many, ninety a minute: the rate of each is found."""
    answers = ask(Budget(start=10.0), limit, 900)
    found = shares(answers, rate, 300, 900)
    assert found.used >= 0.95
    assert found.refused <= 0.02


def test_a_lower_limit_is_obeyed_at_once() -> None:
    """After the limit falls, most requests are answered soon, nearly all within a minute."""
    answers = ask(Budget(start=10.0), Bucket(75), 400, change=(250, Bucket(10)))
    assert shares(answers, 10, 270, 280).refused <= 0.1
    later = shares(answers, 10, 310, 400)
    assert later.refused <= 0.01
    assert later.used >= 0.95


def test_a_higher_limit_is_found() -> None:
    """After the limit rises, a load that continues uses it some time later."""
    answers = ask(Budget(start=10.0), Bucket(10), 1800, change=(300, Bucket(20)))
    assert shares(answers, 20, 1600, 1800).used >= 0.95


def test_a_configured_rate_is_never_passed() -> None:
    """A configured rate is never passed, and a platform that allows less is obeyed."""
    answers = ask(Budget(20.0, start=10.0), Bucket(1000), 60)
    assert shares(answers, 20, 1, 60).used == pytest.approx(1.0, abs=0.02)
    answers = ask(Budget(20.0), Bucket(8), 300)
    found = shares(answers, 8, 120, 300)
    assert found.used >= 0.95
    assert found.refused <= 0.01


def test_only_a_load_that_waits_makes_the_rate_grow() -> None:
    """A load that asks for five a second leaves the rate near its start, however long it lasts."""
    budget = Budget(start=10.0)
    ask(budget, Bucket(1000), 600, demand=5.0)
    assert (budget.take_turn(601.0).rate or 0.0) < 30
    ask(waiting := Budget(start=10.0), Bucket(1000), 100)
    assert 60 < (waiting.take_turn(101.0).rate or 0.0) < 80


def test_two_clients_share_what_is_allowed(tmp_path: Path) -> None:
    """Two budgets of one key have one rate between them."""
    both = [Budget.shared(tmp_path, "https://a.example/x", "k", None, 10.0) for _ in range(2)]
    answers = ask(both, Bucket(10), 400)
    found = shares(answers, 10, 200, 400)
    assert found.used >= 0.95
    assert found.refused <= 0.01


def test_turns_are_spaced() -> None:
    """Turns are 1/R seconds apart; a request that is a little late does not move the next turn."""
    budget = Budget(10.0)
    assert budget.take_turn(100.0).wait == 0
    assert budget.take_turn(100.0).wait == pytest.approx(0.1, abs=0.03)
    assert budget.take_turn(100.05).wait > 0
    assert budget.take_turn(100.1).wait == 0
    late = budget.take_turn(100.2)
    assert late.wait == 0
    assert budget.take_turn(100.2).wait == pytest.approx(0.1, abs=0.025)
    assert Budget().take_turn(3.0) == (0.0, 0, None)


def test_a_refusal_stops_everybody() -> None:
    """A 429 stops all requests for its pause; one to a request sent before does not count."""
    budget = Budget(100.0)
    first = budget.take_turn(10.0)
    second = budget.take_turn(10.02)
    assert budget.pause(10.1, 2.0, first.epoch) == pytest.approx(2.0)
    assert budget.pause(10.15, 2.0, second.epoch) == pytest.approx(0.05)
    assert budget.take_turn(11.0).wait == pytest.approx(1.15)
    rate = budget.take_turn(12.2).rate or 0.0
    assert 0 < rate < 100
    assert budget.pause(12.3, 0.0, first.epoch) == 0
    assert budget.take_turn(12.5).rate == pytest.approx(rate, rel=0.1)


def test_no_pause_is_endless() -> None:
    """A Retry-After of a year stops requests for an hour."""
    budget = Budget(start=10.0)
    budget.pause(0.0, 3e7, budget.take_turn(0.0).epoch)
    assert budget.take_turn(1.0).wait <= LONGEST_PAUSE_S


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_a_rate_must_be_one(rate: float) -> None:
    """An invalid rate is refused with the name of its setting."""
    with pytest.raises(ConfigError, match="requests_per_second"):
        Budget(rate)


def test_the_file_does_not_show_the_key(tmp_path: Path) -> None:
    """The file is named by a hash and holds numbers for its owner; each key and host has one."""
    folder = tmp_path / "x" / "budgets"
    Budget.shared(folder, "https://a.example", "sk_secret", None, 10.0).take_turn(1.0)
    Budget.shared(folder, "https://a.example/v1", "sk_secret", 5.0, 10.0).take_turn(2.0)
    [file] = folder.iterdir()
    assert "secret" not in file.name + file.read_text() and "example" not in file.name
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    Budget.shared(folder, "https://b.example", "sk_secret", None, 10.0).take_turn(1.0)
    Budget.shared(folder, "https://a.example", "sk_other", None, 10.0).take_turn(1.0)
    assert len(list(folder.iterdir())) == 3


def known(folder: Path, ceiling: float | None = None, start: float | None = 10.0) -> Budget:
    """A budget of one key, as another process has it: it knows only the file."""
    return Budget(ceiling, start=start, file=next(folder.glob("*.json"), folder / "k.json"))


def test_what_was_learned_is_kept(tmp_path: Path) -> None:
    """The next load begins at the rate of the last one, and waits until its pause is over."""
    budget = known(tmp_path)
    ask(budget, Bucket(40), 200)
    now = 200.0
    rate = budget.take_turn(now).rate or 0.0
    assert 30 < rate < 45
    budget.pause(now + 1, 30.0, budget.take_turn(now + 1).epoch)
    turn = known(tmp_path).take_turn(now + 2)
    assert turn.wait == pytest.approx(29.0)
    assert known(tmp_path, ceiling=5.0).take_turn(now + 40).rate == 5.0


def test_after_a_silence_more_is_tried() -> None:
    """After a silence a load begins at the last rate, and finds a higher limit in a minute."""
    budget = Budget(start=10.0)
    ask(budget, Bucket(20), 200)
    rate = budget.take_turn(1000.0).rate or 0.0
    assert 18 < rate <= 20
    for step in range(6000):
        budget.take_turn(1000 + step / 100)
    assert (budget.take_turn(1060.1).rate or 0.0) > 2 * rate


def test_what_was_learned_grows_old(tmp_path: Path) -> None:
    """A rate is forgotten after a week without requests, on loopback after minutes."""
    for start, age in ((10.0, 8 * 86400), (None, KEPT_ON_LOOPBACK_S + 60)):
        budget = known(tmp_path, start=start)
        ask(budget, Bucket(3), 60)
        [file] = tmp_path.glob("*.json")
        os.utime(file, (time.time() - age, time.time() - age))
        assert known(tmp_path, start=start).take_turn(61.0) == (0.0, 0, start)
        file.unlink()


def test_a_clock_that_begins_anew_stops_nothing(tmp_path: Path) -> None:
    """After a restart of the machine a load waits for the rest of a pause, not longer."""
    budget = known(tmp_path)
    budget.pause(9e6, 20.0, budget.take_turn(9e6).epoch)
    assert known(tmp_path).take_turn(3.0).wait == pytest.approx(20.0)
    assert known(tmp_path).take_turn(24.0).wait == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"next": "x"}', '{"low": -5, "high": 2}', "\0" * 9])
def test_a_broken_file_is_replaced(tmp_path: Path, text: str) -> None:
    """A load continues with any content of the file."""
    (tmp_path / "k.json").write_text(text)
    assert known(tmp_path).take_turn(5.0) == (0.0, 0, 10.0)
    assert known(tmp_path).take_turn(5.0).wait > 0


def test_without_a_folder_the_process_shares(tmp_path: Path) -> None:
    """If no file can be written, the budgets of a key share within the process."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "budgets"
    first, second = (Budget.shared(folder, "https://a.example", "k", 10.0, 10.0) for _ in range(2))
    assert first.take_turn(1.0).wait == 0
    assert second.take_turn(1.0).wait > 0


def test_a_lock_that_is_kept_stops_nothing(tmp_path: Path) -> None:
    """A process that keeps the file locked cannot stop a load."""
    fcntl = pytest.importorskip("fcntl")
    budget = known(tmp_path)
    budget.take_turn(1.0)
    with (tmp_path / "k.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert budget.take_turn(2.0).wait == 0
        assert budget.take_turn(2.0).wait > 0


def test_no_file_without_a_limit(tmp_path: Path) -> None:
    """On loopback nothing is written until there is something to share."""
    budget = Budget.shared(tmp_path, "http://127.0.0.1:9", "k", None, None)
    epoch = budget.take_turn(1.0).epoch
    assert not list(tmp_path.iterdir())
    for _ in range(50):
        budget.take_turn(1.01)
    budget.pause(1.1, 1.0, epoch)
    assert len(list(tmp_path.iterdir())) == 1
    # fifty were answered within a second
    assert 40 < (budget.take_turn(2.2).rate or 0) <= 50


def test_numbers_that_cannot_be_ours() -> None:
    """Numbers that these rules cannot have made are not used."""
    assert Pace().is_sane and Pace(low=1.0, high=2.0).is_sane
    assert not Pace(low=3.0, high=2.0).is_sane
    assert not Pace(base=-1.0).is_sane
    assert not Pace(busy_s=-1.0).is_sane


ASK = """
import sys, time
from pathlib import Path
from docruns.net.shared_budget import Budget
from docruns.providers.extend import api
from docruns.net.client import Client
from docruns.net.messages import ConnectionSettings, Request

url, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
settings = ConnectionSettings(url, api.headers("k", "2026-02-09", None))
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + seconds
budget = Budget.shared(folder, url, "k", None, 10.0)
with Client(settings, budget, api.explain, api.check) as client:
    while time.monotonic() < end:
        client.get(Request("/workflow_runs", (("maxPageSize", 1),)))
print(client.usage.requests)
"""


def test_two_processes_share_what_is_allowed(tmp_path: Path) -> None:
    """Two processes without settings learn one rate and share it."""
    with Sandbox(runs=3, rate_limit=8) as sandbox:
        command = [sys.executable, "-c", ASK, sandbox.extend_url, str(tmp_path / "b"), "7"]
        pipe = subprocess.PIPE
        running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
        # both begin at once, however long the imports of one take
        assert [process.stdout.readline() for process in running if process.stdout] == ["ready\n"] * 2
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        sent = [int(process.communicate(timeout=300)[0]) for process in running]
        seconds, stats = sandbox.stats.seconds, sandbox.stats
    assert sum(sent) == stats.requests
    assert min(sent) > 15
    # what each would use alone is refused to both
    assert stats.throttled < 10
    assert stats.requests - stats.throttled > 0.6 * 8 * len(seconds)
    assert len(list((tmp_path / "b").iterdir())) == 1
