"""Training of networks: on simulated scenes, on pseudo-labels, on normal nuclei."""
