"""The style sheet of all pages: light and dark, without images, fonts or scripts.

Used by `page`, which allows this sheet by its hash.
"""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { color-scheme: light dark;
  --text: #1c2024; --soft: #60646c; --back: #fcfcfd; --panel: #f0f1f4; --line: #d5d8de;
  --accent: #0b5cad; --good: #16703a; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root {
  --text: #edeef0; --soft: #b0b4ba; --back: #111316; --panel: #1c1f24; --line: #3a3f46;
  --accent: #79b8ff; --good: #71d58f; --bad: #ff9189; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--back);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main.narrow { max-width: 36rem; margin: 0 auto; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
a { color: var(--accent); }
.soft { color: var(--soft); }
.good { color: var(--good); }
.bad { color: var(--bad); }
code, pre, textarea { font: .875rem/1.45 ui-monospace, monospace; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .75rem;
  margin: .5rem 0; overflow-x: auto; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-size: .9375rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0;
  border-bottom: 1px solid var(--line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); }
dd { margin: 0; }
section.panel, details { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
  margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
nav ul { list-style: none; padding: 0; margin: 0; }
label { display: block; font-weight: 600; margin: 1rem 0 .25rem; }
input, select, textarea { width: 100%; padding: .5rem; font: inherit; color: inherit;
  background: var(--panel); border: 1px solid var(--soft); border-radius: .4rem; }
input[type=checkbox], input[type=radio] { width: auto; margin-right: .5rem; }
button { margin: 1.5rem .5rem 0 0; padding: .6rem 1.5rem; font: inherit; font-weight: 600; cursor: pointer;
  color: var(--back); background: var(--accent); border: 1px solid var(--accent); border-radius: .4rem; }
button.second { color: var(--accent); background: transparent; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
"""
