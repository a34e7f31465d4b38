"""What is said of the nuclei of one slide, with its errors and its pictures."""
