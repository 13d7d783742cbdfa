"""Texts that a page must show and never execute."""

from __future__ import annotations

from typing import Final

MARK: Final = "window.hostile=1"
TEXTS: Final = (
    f"<script>{MARK}</script>",
    f'"><img src=x onerror="{MARK}">',
    f"'><svg onload={MARK}>",
    f"</textarea></title></script><script>{MARK}</script>",
    f"javascript:{MARK}//",
    f"<iframe srcdoc='<script>parent.{MARK}</script>'></iframe>",
    f"<a href='javascript:{MARK}' autofocus onfocus={MARK}>click</a>",
    "<style>@import 'https://evil.example/x.css'</style><link rel=stylesheet href=//evil.example/y>",
    "<form action=https://evil.example><button>Retry</button></form>",
    "<base href=https://evil.example/><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "{{ 7*7 }}{% raw %}{{ visitor }}",
    "<!--",
    "&lt;script&gt;",
    "]]>",
    "\u202etxt.exe",
    "\x1b[31mred\x00",
)
ALL: Final = " ".join(TEXTS)
"""Every text at once, for one field."""

WATCH: Final = """
window.reports = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.reports.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
window.addEventListener("error", (event) => window.reports.push(`error: ${event.message}`));
"""
"""Script that a browser runs before those of a page: it collects violations of the policy, and errors."""
