"""FISH signals: from spots to the counts of every nucleus and one FISH call."""
