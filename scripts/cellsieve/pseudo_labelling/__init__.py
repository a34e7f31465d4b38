"""From candidates and a promptable model's outlines to labels that can be trusted."""
