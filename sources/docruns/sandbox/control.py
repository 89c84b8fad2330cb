"""The controls over HTTP, below `/_sandbox`, for tests in other processes.

They do the same as the Python controls:

POST /_sandbox/extend/review   {"runs": 3, "together": true}    -> {"ids": ["workflow_run_..."]}
POST /_sandbox/faults          {"kind": "status", "status": 429} -> {"faults": [...]}
GET  /_sandbox/stats                                            -> {"requests": 12, ...}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from .faults import Fault
from .wire import Reply, Request, encode

if TYPE_CHECKING:
    from .gate import Gate

Body = dict[str, Any]


class Control:
    """Maps (method, path) to a Python control; a wrong argument is answered with 400 and its message."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        extend = gate.extend.platform
        plextera = gate.plextera
        self._table: dict[tuple[str, str], Callable[[Body], Any]] = {
            ("GET", "/stats"): lambda body: self._stats(),
            ("POST", "/stats/reset"): lambda body: self._reset(),
            ("GET", "/faults"): lambda body: {"faults": gate.faults.listed()},
            ("POST", "/faults"): self._add_fault,
            ("DELETE", "/faults"): lambda body: self._clear_faults(),
            ("GET", "/settings"): lambda body: self._settings(),
            ("POST", "/settings"): self._set,
            ("POST", "/extend/runs"): lambda body: {"ids": extend.add(**body)},
            ("POST", "/extend/review"): lambda body: {"ids": extend.review(**body)},
            ("POST", "/extend/finish"): lambda body: {"ids": extend.finish(**body)},
            ("POST", "/extend/fail"): lambda body: extend.fail(**body),
            ("POST", "/extend/delete"): lambda body: extend.delete(**body),
            ("POST", "/extend/rename"): lambda body: extend.rename(**body),
            ("POST", "/extend/switches"): lambda body: extend.switch(**body),
            ("GET", "/extend/switches"): lambda body: extend.switch(),
            ("POST", "/extend/put"): lambda body: {"id": extend.put(**body)},
            ("POST", "/extend/evaluation/change"): lambda body: extend.evaluation.change(**body),
            ("POST", "/extend/evaluation/add"): lambda body: {"id": extend.evaluation.add(**body)},
            ("POST", "/extend/evaluation/remove"): lambda body: extend.evaluation.remove(**body),
            ("GET", "/extend/evaluation/truth"): lambda body: extend.evaluation.truth(),
            ("GET", "/extend/truth"): lambda body: list(extend.truth()),
            ("GET", "/truth"): lambda body: list(extend.leaf_truth()),
            ("POST", "/plextera/runs"): lambda body: {"ids": plextera.platform.add(**body)},
            ("POST", "/plextera/extractions"): lambda body: {
                "ids": plextera.platform.add_extractions(**body)
            },
            ("POST", "/plextera/finish"): lambda body: {"ids": plextera.platform.finish(**body)},
            ("POST", "/plextera/fail"): lambda body: plextera.platform.fail(**body),
            ("POST", "/plextera/close"): lambda body: {"ids": plextera.platform.close(**body)},
            ("POST", "/plextera/reprocess"): lambda body: {"ids": plextera.platform.reprocess(**body)},
            ("POST", "/plextera/delete"): lambda body: plextera.platform.delete(**body),
            ("POST", "/plextera/put"): lambda body: {"id": plextera.platform.put(**body)},
            ("POST", "/plextera/switches"): lambda body: plextera.platform.switch(**body),
            ("GET", "/plextera/switches"): lambda body: plextera.platform.switch(),
            ("GET", "/plextera/truth"): lambda body: list(plextera.platform.truth()),
        }

    def handle(self, request: Request, path: str) -> Reply:
        act = self._table.get((request.method, path))
        if act is None:
            return Reply(
                404,
                encode({"error": "no such control", "controls": [" ".join(key) for key in self._table]}),
            )
        try:
            body = msgspec.json.decode(request.body or b"{}")
            if not isinstance(body, dict):
                raise TypeError("the body must be a JSON object")
            return Reply(200, encode(act(body)))
        except (TypeError, ValueError, KeyError, msgspec.DecodeError) as error:
            return Reply(400, encode({"error": str(error)}))

    def _stats(self) -> Body:
        return self._gate.counted().as_dict()

    def _reset(self) -> Body:
        self._gate.counted().reset()
        return {}

    def _add_fault(self, body: Body) -> Body:
        with self._gate.lock:
            self._gate.faults.add(Fault(**body))
            return {"faults": self._gate.faults.listed()}

    def _clear_faults(self) -> Body:
        with self._gate.lock:
            self._gate.faults.clear()
        return {"faults": []}

    def _settings(self) -> Body:
        return {"latency": self._gate.latency, "rate_limit": self._gate.rate_limit}

    def _set(self, body: Body) -> Body:
        unknown = body.keys() - {"latency", "rate_limit"}
        if unknown:
            raise ValueError(f"unknown setting {min(unknown)!r}")
        with self._gate.lock:
            self._gate.latency = float(body.get("latency", self._gate.latency))
            if "rate_limit" in body:
                self._gate.limit(body["rate_limit"])
        return self._settings()
