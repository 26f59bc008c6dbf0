"""The leaderboard, under the name by which `kosmos_eval.leaderboard(...)` is looked up; see `tables`."""

from kosmos_eval.tables import COLUMNS, leaderboard, write_csv

__all__ = ["COLUMNS", "leaderboard", "write_csv"]
