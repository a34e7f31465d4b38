"""How unlike the reference's nuclei a nucleus is, and how rare that would be among them."""
