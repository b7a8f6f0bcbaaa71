"""What KubeTuner costs against bare loops that do the same work; see docs/performance.md.

    python -m benchmarks --material build/material          all rows: a table, and build/bench.json
    python -m benchmarks --only step vae --pairs 3            some rows, quickly
    python -m benchmarks --device cuda --model full           the same on a GPU with a U-Net of SDXL's size

A row is a file in `rows/` with one function from a Bench to Figures. Nothing here is asserted in tests: times differ from machine to
machine by a factor of three, so that a figure is a ratio of two things measured in turn, in one run.
"""
