"""Measurements: `make bench`. Figures are ratios within one run; no test asserts on time."""
