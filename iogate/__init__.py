"""iogate: the gateway that turns YAML in git into durable, asynchronous HTTP APIs.

Authors of functions use `function`, `Context` and `WorkflowError`. These load on first use, to keep the start
of the command line and of the processes fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iogate.version import __version__

if TYPE_CHECKING:
    from iogate.errors import WorkflowError
    from iogate.functions import Context, function

__all__ = ["Context", "WorkflowError", "__version__", "function"]


def __getattr__(name: str) -> Any:
    match name:
        case "function" | "Context":
            from iogate import functions  # noqa: PLC0415 - on first use, see above

            return getattr(functions, name)
        case "WorkflowError":
            from iogate.errors import WorkflowError  # noqa: PLC0415 - on first use, see above

            return WorkflowError
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
