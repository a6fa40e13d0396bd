"""The comparison's parts, bottom-up; each module uses those before it alone.

model       rows, measures, results: what is measured and what came out
stats       medians, their confidence intervals, ratios
process     runs one command below bench/launch
allocators  finds the libraries, and proves that one is in force
micro, field, programs, servers, limits   the rows
plan        which rows a comparison has
measure     runs them, round by round, and can go on where it stopped
store       raw results as CSV and JSON
analysis    results into figures: medians, ratios, means, losses
text, results_md, plots, html   the figures for people
"""
