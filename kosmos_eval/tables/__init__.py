"""Tables made from run folders. Pure: what they show can be made again from what is stored."""

from kosmos_eval.tables.board import COLUMNS, KEY, leaderboard
from kosmos_eval.tables.export import write_csv, write_json, write_latex, write_markdown

__all__ = ["COLUMNS", "KEY", "leaderboard", "write_csv", "write_json", "write_latex", "write_markdown"]
