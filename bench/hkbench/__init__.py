"""The comparison's parts, bottom-up; each module uses those before it alone.

model       rows, measures, results: what is measured and what came out
stats       medians, their confidence intervals, ratios
process     runs one command below bench/launch
allocators  finds the libraries, and proves that one is in force
machine     what it was measured on
micro, field, programs   rows of small benchmarks, of tests of what users suffer from, of programs
client, server, postgres, servers   rows of servers
limits      what no allocator can beat
plan        which rows a comparison has
store       raw results: a journal, CSV and JSON
measure     runs them, round by round, and can go on where it stopped
analysis    results into figures: medians, ratios, means, losses
text, results_md, plots, html   the figures for people
readme      those that README.md shows
"""
