"""Medians, their confidence intervals, geometric means."""

import math
import statistics


def median(values):
    return statistics.median(values)


# Student's t for 95 % and n - 1 degrees of freedom, over the square root of n.
STUDENT = {2: 8.98, 3: 2.48, 4: 1.59, 5: 1.24}


def interval(values, level=0.95):
    """The interval that holds the true median with this confidence, 95 % or less: between two of the
    sorted values, whatever the noise looks like.  Below 6 values no two of them are that sure: then as if
    the noise were normal, and at least the whole range.  One value says nothing: it is its interval."""
    ordered, n = sorted(values), len(values)
    if n in STUDENT:
        reach = STUDENT[n] * statistics.stdev(values)
        middle = statistics.median(values)
        return min(ordered[0], max(middle - reach, 0)), max(ordered[-1], middle + reach)
    outside, rank = 0.0, 0
    for k in range(n // 2):
        outside += 2 * math.comb(n, k) / 2**n
        if outside > 1 - level:
            break
        rank = k
    return ordered[rank], ordered[n - 1 - rank]


def overlap(a, b, even=1.0):
    """Whether two intervals have something in common, or lie no further apart than this factor."""
    return a[0] <= b[1] * even and b[0] <= a[1] * even


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))
