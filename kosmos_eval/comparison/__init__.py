"""Whether the prompt, the shots, the model or the seed makes a difference: runs compared sample by sample."""

from kosmos_eval.comparison.table import COLUMNS, compare

__all__ = ["COLUMNS", "compare"]
