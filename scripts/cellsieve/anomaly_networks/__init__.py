"""Networks that learn what normal nuclei look like, from nothing but their crops."""
