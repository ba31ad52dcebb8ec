"""Benchmarks: `make bench`. Speeds are ratios, measured side by side in one run."""
