"""The run's log as a picture and as a small table: what was right, over steps."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

Curve = list[tuple[float, float]]
SEE, SEEN = "see", {"readers", "shape", "colour", "cell"}
_SMOOTH = 0.8


def read_log(out: Path) -> list[dict[str, Any]]:
    """The log's rows. Where a run was resumed from an older checkpoint, the later row of a step stands."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row["stage"], row["step"]] = row
    return list(rows.values())


def gather(rows: list[dict[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Stage -> name -> curve of shares that are right."""
    found: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda r: int(r["step"])):
        stage, step = row["stage"], row["step"]
        for name, value in row.items():
            if name == "characters":
                found[stage]["characters"].append((step, value[0]))
                found[stage]["characters in order"].append((step, value[1]))
            elif isinstance(value, dict) and "right" in value:
                found[stage][name].append((step, value["right"]))
            elif name == SEE:
                for what in sorted(value.keys() & SEEN):
                    found[stage][f"seen: {what}"].append((step, value[what]))
            elif name in ("shape", "colour", "size", "kind", "cell"):
                found[stage][name].append((step, value))
    return found


def smooth(curve: Curve) -> Curve:
    """A running mean."""
    out: Curve = []
    for step, value in curve:
        if value == value:
            out.append((step, value if not out else _SMOOTH * out[-1][1] + (1 - _SMOOTH) * value))
    return out


def plot_curves(out: Path, folder: Path) -> None:
    """Writes `curves.png` and `log.jsonl` (aggregate figures only) into the folder."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = read_log(out)
    stages = gather(rows)
    figure, axes = plt.subplots(1, max(1, len(stages)), figsize=(5 * max(1, len(stages)), 3.6), squeeze=False)
    for axis, (stage, curves) in zip(axes[0], stages.items(), strict=True):
        for name, curve in curves.items():
            smoothed = smooth(curve)
            axis.plot([s for s, _ in smoothed], [v for _, v in smoothed], label=name, linewidth=1.2)
        axis.set(title=stage, xlabel="step", ylim=(0, 1.02))
        axis.legend(fontsize=6, loc="lower right")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("share right (training batches)")
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=90)
    plt.close(figure)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::5]), encoding="utf-8")
