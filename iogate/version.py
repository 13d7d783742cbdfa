"""The release, a constant that every layer may name without loading the package's face."""

VERSION = "0.1.0"
