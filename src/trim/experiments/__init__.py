"""Running policies over questions: runs, sweeps, records, forecasts, clusters."""
