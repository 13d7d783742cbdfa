"""The console: pages of operators under `/console`, which exist only if the setting `operators` is set.

    console          from a request of a browser to a page: origin, session, role, form
    session login    signed cookie of an operator who has logged in; login and logout
    requests         query and form of a request
    page             declaration of a page, and the visit that its handler receives
    pages            one module per kind of page
    form_outcome     outcome of a form, for the page that is shown next
    rendering        templates, and the headers of each page
    static_files     style sheet and modules, with the digest of their content in their names
    formatting       times, durations, counts, sizes and JSON as text
    json_tree        JSON values as trees that a reader can fold
    timeline task_selection  tasks of a run as bars over time, and those that are shown at first
    task_flow        tasks of a workflow as a tree, from its definition
    list_filters     filters of lists, which live in the URL
    shell_lines      the command that shows the same as a page

`templates` holds the HTML, `static` the style sheet and the modules for browsers.
"""
