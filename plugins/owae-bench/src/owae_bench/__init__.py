"""`owae bench`: what every installed divergence costs, and how far each is from float64.

A process of its own measures each divergence and backend, so that one that crashes, hangs or runs out of memory is a line in the
table with its reason, compilation is counted from cold, and nothing a library prints reaches stdout.
"""
