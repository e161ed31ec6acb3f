"""Benchmarks: pytest-benchmark files, and the comparison with other libraries."""
