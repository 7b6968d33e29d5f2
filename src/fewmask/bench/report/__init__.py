"""The report of a bench: many runs, compared; `fewmask.bench.report.write.write_bench_report` writes all its files."""
