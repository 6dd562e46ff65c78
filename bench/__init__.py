"""Reproducible benchmarks, each beside a named peer in the same run. See README.md."""
