"""Medians, confidence intervals that assume nothing about how the noise is spread, ratios."""

import math
import statistics


def median(values):
    return statistics.median(values)


def interval(values, level=0.95):
    """The interval between two of the sorted values that holds the true median with at least this
    confidence; the whole range when there are too few values for that (below 6)."""
    ordered, n = sorted(values), len(values)
    outside, rank = 0.0, 0
    for k in range(n // 2):
        outside += 2 * math.comb(n, k) / 2**n
        if outside > 1 - level:
            break
        rank = k
    return ordered[rank], ordered[n - 1 - rank]


def overlap(a, b):
    return a[0] <= b[1] and b[0] <= a[1]


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))
