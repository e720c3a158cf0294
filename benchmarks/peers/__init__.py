"""The other sides: each peer as its own documentation sets it up, run by the interpreter that has it installed.

These files import the standard library, their peer and `benchmarks.rounds`, nothing of the product.
"""
