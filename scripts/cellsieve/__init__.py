"""cellsieve: find the few abnormal nuclei among many normal ones.

Each module holds one idea and imports only what it needs, so that a script
that reads a table never pays for an image library.
"""

__version__ = "0.1.0"
