"""Methods against known labels: agreement, intervals, times, tables and pictures."""
