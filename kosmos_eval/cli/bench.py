"""`kosmos-eval bench`."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kosmos_eval.cli.common import console, names, reporting

if TYPE_CHECKING:
    from rich.table import Table

    from kosmos_eval.benchmarks.measure import Bench, Measured

COLUMNS = (
    "work", "arm", "queries", "rounds", "seconds_per_query", "least", "most", "ratio", "ratio_least", "ratio_most",
    "largest_difference", "same_choice", "same_texts", "texts", "asked", "computed", "pictures", "peak_share",
    "kv_bytes", "kv_per_row",
)  # fmt: skip


@reporting
def bench(
    shape: Annotated[str, typer.Option(help="mini, small or full: random weights of that shape.")] = "mini",
    model: Annotated[str | None, typer.Option(help="A checkpoint to measure instead of random weights.")] = None,
    work: Annotated[str, typer.Option(help="score, score-random, greedy, beam, mcot, raven; or several.")] = "score",
    shots: Annotated[int, typer.Option(min=0, help="Demonstrations before each query.")] = 8,
    queries: Annotated[int, typer.Option(min=1, help="Queries that the engine answers in a round.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Times that every arm has its turn.")] = 5,
    against: Annotated[str | None, typer.Option(help="Only these of the work's denominators: s0, s2, s3.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Texts that the engine writes together.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the processor.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="Writes the figures to this file.")] = None,
) -> None:
    """Measures the engine against Hugging Face on the same work, in turns, and checks that their answers agree.

    Example: kosmos-eval bench --shape mini --work score,greedy --shots 4 --queries 16 --rounds 3
    """
    import torch

    from kosmos_eval.benchmarks.measure import rows
    from kosmos_eval.benchmarks.work import make_work

    torch.set_num_threads(threads)
    screen = console(stderr=True)
    kinds = names(work, "--work")
    found: list[Measured] = []
    with screen.status("making the network") as status:
        measuring = _bench(shape, model, device, dtype, batch)
        vocabulary = measuring.network.config.text.vocab_size
        for kind in kinds:
            made = make_work(kind, shots, queries, vocabulary)
            if against is not None:
                made = made.only(names(against, "--against"))
            found.append(measuring.measure(made, rounds, status.update))
    table = _table(found)
    network = measuring.network
    kind = str(network.dtype).removeprefix("torch.")
    table.title = f"{model or shape} on {network.device}, {kind}, threads: {threads}"
    console().print(table)
    if csv is not None:
        import pandas as pd

        from kosmos_eval.tables.export import write_csv

        frame = pd.DataFrame([row for measured in found for row in rows(measured)], columns=list(COLUMNS))
        write_csv(frame.convert_dtypes(), csv)


def _bench(shape: str, model: str | None, device: str, dtype: str, batch: int) -> Bench:
    import torch

    from kosmos_eval.benchmarks.measure import Bench
    from kosmos_eval.benchmarks.shapes import hugging_face, random_network
    from kosmos_eval.engine.limits import Limits
    from kosmos_eval.kosmos.images import Preprocessing
    from kosmos_eval.kosmos.processor import Processor
    from kosmos_eval.kosmos.tokenizer import KosmosTokenizer
    from kosmos_eval.kosmos.weights import load_network
    from kosmos_eval.models.locate import bundled, locate, resolve_device

    device, dtype = resolve_device(device, dtype)
    if model is None:
        network = random_network(shape, 0, device, getattr(torch, dtype))
        tokenizer = KosmosTokenizer.load(bundled("kosmos-mini"))
        size = network.config.vision.image_size
        processor = Processor(tokenizer, Preprocessing(size, size), network.config)
    else:
        folder = locate(model).folder
        network = load_network(folder, device=device, dtype=getattr(torch, dtype))
        processor = Processor.load(folder)
    return Bench(network, processor, hugging_face(network), replace(Limits.on(network.device), rows=batch))


def _table(found: list[Measured]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("work", overflow="fold")
    for column in ("arm", "queries", "s/query", "range", "ratio", "range", "agrees", "computed", "of peak", "KV saved"):
        table.add_column(column, justify="left" if column in ("arm", "agrees") else "right")
    for measured in found:
        for arm, timing in measured.timings.items():
            cells = [measured.work.about if arm == "engine" else "", arm, str(timing.queries), f"{timing.median:.3g}"]
            cells.append(f"{min(timing.seconds):.3g}–{max(timing.seconds):.3g}")
            cells += _compared(measured, arm)
            table.add_row(*cells)
        table.add_section()
    return table


def _compared(measured: Measured, arm: str) -> list[str]:
    """The cells of what an arm is to the engine; of the engine itself, of what it saved."""
    if arm == "engine":
        effort = measured.effort
        saved = f"{effort.kv_per_row / effort.kv_bytes:.1f}×" if effort.kv_per_row else ""
        return ["", "", "", f"{effort.computed / effort.asked:.1%}", f"{effort.peak_share:.0%}", saved]
    ratios, agreement = measured.ratios(arm), measured.agreements[arm]
    agrees = f"{agreement.same_texts}/{agreement.texts} texts" if agreement.texts else f"±{agreement.largest:.1g}"
    return [f"{statistics.median(ratios):.1f}×", f"{min(ratios):.1f}–{max(ratios):.1f}", agrees, "", "", ""]
