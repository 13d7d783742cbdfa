"""iogate: the gateway that turns YAML in git into durable, asynchronous HTTP APIs."""

__version__ = "0.1.0"
