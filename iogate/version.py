"""The release, a constant that every layer may name without loading the package's face.

Its name and its literal are for the packer, which reads this file and must not import the package: nothing
that the package needs is installed yet when it is built.
"""

__version__ = "0.1.0"
