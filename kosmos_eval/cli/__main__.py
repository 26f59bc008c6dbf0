"""`python -m kosmos_eval.cli`."""

from kosmos_eval.cli import main

main()
