"""TRIM-Agg and TRIM-Seq: policies that are small trained networks."""
