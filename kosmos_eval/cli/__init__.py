"""The command line: thin, one library call per command. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import io
import sys

import typer

from kosmos_eval.cli.bench import bench
from kosmos_eval.cli.benchmarks import preview, tasks
from kosmos_eval.cli.board import leaderboard
from kosmos_eval.cli.compare import compare
from kosmos_eval.cli.data import app as data_app
from kosmos_eval.cli.doctor import doctor
from kosmos_eval.cli.export import app as export_app
from kosmos_eval.cli.language import language
from kosmos_eval.cli.lm_eval import FORWARDED, lm_eval
from kosmos_eval.cli.plugin import app as plugin_app
from kosmos_eval.cli.report import report
from kosmos_eval.cli.rescore import rescore
from kosmos_eval.cli.run import run
from kosmos_eval.cli.score import score
from kosmos_eval.cli.sweep import sweep

app = typer.Typer(
    name="kosmos-eval",
    help="Zero- and few-shot evaluation of KOSMOS models, with standard and multimodal chain-of-thought prompts.",
    epilog="Begin with: kosmos-eval run rendered_sst2 --prompt standard,mcot --limit 64",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(tasks)
app.command()(preview)
app.command()(run)
app.command()(sweep)
app.command()(score)
app.command()(rescore)
app.command()(leaderboard)
app.command()(compare)
app.command()(bench)
app.command()(doctor)
app.command()(language)
app.command("lm-eval", context_settings=FORWARDED, add_help_option=False)(lm_eval)
app.command()(report)
app.add_typer(data_app, name="data", help="Check, make and render benchmark data.")
app.add_typer(export_app, name="export", help="Tasks for other harnesses; answers for evaluation servers.")
app.add_typer(plugin_app, name="plugin", help="Check a task plugin of your own.")


def main() -> None:
    """The entry point of the `kosmos-eval` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows `?`, and the command goes on
    app()
