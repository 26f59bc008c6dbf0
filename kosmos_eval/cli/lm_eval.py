"""`kosmos-eval lm-eval`."""

from __future__ import annotations

import sys

import typer

from kosmos_eval.cli.common import reporting

FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Every argument is lm-eval's, `--help` included."""


@reporting
def lm_eval(context: typer.Context) -> None:
    """Runs lm-eval's own command line, which then knows `--model kosmos`.

    Example: kosmos-eval lm-eval run --model kosmos --model_args pretrained=kosmos-mini --tasks piqa
    """
    from kosmos_eval.interop import require_lm_eval

    require_lm_eval()
    from lm_eval.__main__ import cli_evaluate

    import kosmos_eval.interop.lm_eval_model  # noqa: F401 -- registers the model

    sys.argv = ["kosmos-eval lm-eval", *context.args]
    cli_evaluate()
