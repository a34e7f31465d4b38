"""Training networks on what is simulated or was labelled by nobody."""
