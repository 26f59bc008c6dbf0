"""Other harnesses: KOSMOS as a model of lm-eval, lm-eval's language tasks in ours, and our tasks in lm-eval."""

from __future__ import annotations

from kosmos_eval.errors import UsageError

PLACEHOLDER = "<image>"
"""What stands for a picture in lm-eval's texts."""


def require_lm_eval() -> None:
    """Raises UsageError where lm-eval is not installed; else makes sure that its own models are known to it.

    lm-eval looks for its models only while none is registered: one registered before would hide all of them.
    """
    try:
        import lm_eval.models  # noqa: F401
    except ImportError as error:
        raise UsageError(f"this needs lm-eval: pip install 'kosmos-eval[lm-eval]' ({error})") from None
