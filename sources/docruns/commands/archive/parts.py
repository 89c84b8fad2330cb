"""Look after the parts of an archive: what it holds, one part a day, no older days."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ...core.codec import rfc3339
from ...store.archive.folder import Folder
from ...store.archive.reading import open_index
from ...store.archive.rewriting import Rewritten, compact, expire


@dataclass
class Held:
    """What the folder of a workspace holds. `runs`: how many have an answer, by feed; `size` is in bytes.

    `is_whole`: the archive holds all that the state of its last load covers, so the load after a replay goes on there.
    Otherwise that load walks the lists to their ends, and asks for what the archive lacks.
    """

    provider: str
    workspace: str | None
    parts: int
    size: int
    first_day: str
    last_day: str
    runs: dict[str, int]
    deleted: int
    newest: str | None
    is_whole: bool

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def held(url: str, provider: str) -> list[Held]:
    """What the archive holds of a provider, by workspace."""
    folder, found = Folder(url, provider), []
    parts = folder.parts()
    for workspace in sorted({part.workspace for part in parts}, key=str):
        own, index = [part for part in parts if part.workspace == workspace], open_index(folder, workspace)
        runs = {
            name: sum(known.place is not None for known in feed.values())
            for name, feed in index.feeds.items()
        }
        newest = max(index.versions.values(), default=None)
        found.append(
            Held(
                provider,
                workspace,
                len(own),
                sum(part.size for part in own),
                str(own[0].day),
                str(own[-1].day),
                {name: number for name, number in sorted(runs.items()) if number},
                len(index.deleted),
                rfc3339(newest) if newest else None,
                "workflow_runs" in index.states,
            )
        )
    return found


def compact_parts(url: str, provider: str) -> Rewritten:
    """Make one part of each day, with the newest answers only."""
    return compact(Folder(url, provider))


def expire_parts(url: str, provider: str, age: timedelta) -> Rewritten:
    """Remove the parts whose answers were all fetched more than `age` ago, counted in whole days of UTC."""
    return expire(Folder(url, provider), (datetime.now(UTC) - age).date())
