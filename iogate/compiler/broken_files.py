"""Files with errors, and the workflows that they may hold.

Used by `compile`: a reference to a workflow of such a file is no second error.
"""

from __future__ import annotations

import re
from typing import Final

from iogate.documents import Documents, WorkflowDocument
from iogate.documents.placeholders import PLACEHOLDER_HEADER

_EMPTY: Final = "IOG129"
_TELLING: Final = re.compile(r"""\b(?:name|module|methods)["']?\s*:""")
"""Key by which the text of a broken file tells its workflow, or that it is an API."""


class BrokenFiles:
    """The workflows, as far as can be told, of the files that were not read without errors."""

    def __init__(self, documents: Documents) -> None:
        told = {problem.path: problem.code for problem in documents.problems if problem.severity == "error"}
        for document in (*documents.apis, *documents.workflows):
            told.pop(document.path, None)
        self._names: set[str] = set()
        for each in documents.placeholders:
            head = each.data.get("document") if isinstance(each, WorkflowDocument) else None
            if head is not PLACEHOLDER_HEADER:
                told.pop(each.path, None)
            if isinstance(head, dict) and head is not PLACEHOLDER_HEADER:
                self._names.add(f"{head['namespace']}/{head['name']}")
        self._texts = [documents.sources[path].text for path in told if path in documents.sources]
        self._unseen = any(
            path not in documents.sources
            or (code != _EMPTY and not _TELLING.search(documents.sources[path].text))
            for path, code in told.items()
        )
        """True if there is a folder or a file of which nothing is known, since it could not be read, or its
        text tells nothing."""

    def may_hold(self, reference: str) -> bool:
        """Tell whether one of the broken files may be that of a workflow, `namespace/name[:version]`."""
        full = reference.partition(":")[0]
        if self._unseen or full in self._names:
            return True
        name = re.escape(full.partition("/")[2])
        declared = re.compile(rf"""\bname["']?\s*:\s*["']?{name}(?![\w-])""")
        return any(declared.search(text) for text in self._texts)
