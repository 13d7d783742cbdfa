"""Version of the release, which any layer may import without loading the package's API.

The build backend reads the literal from this file, since it cannot import the package: the dependencies are
not installed yet at build time.
"""

__version__ = "0.1.0"
