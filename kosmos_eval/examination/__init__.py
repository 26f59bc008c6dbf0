"""What is safe on this machine with this model: measured, not promised.

`probes` says what is asked, `checks` asks it in ways that must agree, `surroundings` looks for what else an evaluation
needs, `report` keeps what was found beside the runs, `examine` is the whole of it.
"""

from kosmos_eval.examination.examine import COLUMNS, doctor

__all__ = ["COLUMNS", "doctor"]
