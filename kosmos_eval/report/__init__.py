"""One HTML file that shows the evidence of finished runs: tables, charts, and every sample as it was asked."""

from __future__ import annotations

from kosmos_eval.report.build import Report, write_report

__all__ = ["Report", "write_report"]
