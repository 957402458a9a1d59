"""Pure functions from traces to figures: operating points, curves, comparisons, judge quality."""
