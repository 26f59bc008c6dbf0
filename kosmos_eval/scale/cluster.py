"""The Ray cluster that workers run in: joined by its address, or started on this machine."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from typing import Any

from kosmos_eval.errors import UsageError

STORE_BYTES = 512 * 2**20
"""Room for units on their way, in a cluster of our own."""
GPU_WORKER_CPUS = 4
"""Of a GPU's share of its node's processors, what a worker takes at most: it decodes pictures."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker takes of a node."""

    cpus: float = 1
    gpus: float = 0

    def fits(self, node: dict[str, Any]) -> int:
        """How many workers a node has room for."""
        has = node["Resources"]
        rooms = [has.get(name, 0) / need for name, need in (("CPU", self.cpus), ("GPU", self.gpus)) if need]
        return int(min(rooms, default=0))

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")


def connect(address: str | None, workers: int | None) -> None:
    """Joins the cluster at `address`, or starts one on this machine that only this process may use.

    Does nothing where the process has joined one before. Raises UsageError without Ray, or where nothing answers.
    """
    if not address and "ray" not in sys.modules:
        # Ray listens on every interface, and whoever reaches it can run programs: a secret keeps others out.
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token":
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'kosmos-eval[ray]'") from None
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if not address:
        cpus = max(workers or 0, os.cpu_count() or 1)
        try:
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=STORE_BYTES, **quiet)
        except Exception as error:  # Ray raises nothing narrower
            raise UsageError(
                f"Ray could not be started on this machine ({_line(error)}); where it is busy, start Ray beforehand "
                "(`ray start --head`) and give --address auto"
            ) from None
        return
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(f"--address {address}: no Ray cluster to be joined there ({_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def nodes() -> dict[str, dict[str, Any]]:
    """The nodes that are alive, by id, as Ray tells of them."""
    import ray

    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def has_gpus() -> bool:
    return any(node["Resources"].get("GPU", 0) for node in nodes().values())


def share(device: str) -> Share:
    """What a worker takes: a processor, or a GPU with some of its node's processors."""
    if not device.startswith("cuda"):
        return Share()
    shares = [
        n["Resources"].get("CPU", 1) // n["Resources"]["GPU"] for n in nodes().values() if n["Resources"].get("GPU")
    ]
    return Share(max(1, min([GPU_WORKER_CPUS, *shares])), 1)
