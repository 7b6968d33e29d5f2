"""The report: runs on one self-contained HTML page; `fewmask.report.html.write_report` makes it."""
