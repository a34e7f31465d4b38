"""Simulated fields: fluorescence images of nuclei whose truth is known."""
