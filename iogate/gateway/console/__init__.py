"""The console: pages of operators under `/console`, which exist only if the setting `operators` is set.

session          signed cookie of an operator who has logged in
page_guard       who may see a page or submit a form: session, role, origin of the request
rendering        templates, and the headers of each page
static_files     style sheet and modules, with the digest of their content in their names
formatting       times, durations and counts as text
json_tree        JSON values as trees that a reader can fold
timeline         tasks of a run as bars over time
list_filters     filters of lists, which live in the URL
shell_lines      the command that shows the same as a page
routes           all routes of the console
pages            one module per page
templates        their HTML
static           the style sheet and the modules for browsers
"""
