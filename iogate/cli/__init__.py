"""The command line: commands and their rendering.

Composes the layers below; holds no logic that another program would need.

    app         the `iogate` command and the end of every failure
    session     directory, settings, output format and store of a command
    settings_files  `iogate.yaml` and the file of an environment
    store_address  settings of a project, and the URL of its store
    error_output  errors as text and as JSON
    options     options that commands share
    panels      groups of commands in the help
    render      tables, JSON and YAML
    command_examples  examples of `--help`
    last_run    `@last`: the run that was started last in this terminal
    live_view   `--watch`: results that are printed again
    json_fields  fields of `--json`, programs of `--jq`
    escaping_console  Rich, with control characters escaped
    completion  completion by the shell
    git         commands of git, and the files of a tree
    documents   `validate`, `lint`, `fmt`, `explain`, `debug`, `test`
    plans       `plan`, `diff`, `rollback`, `export`, `drift`
    revisions   `apply`, `enable`, `disable`, `override`, `history`, `show`, `status`
    pull        `watch`
    system      the live system, by its store or over HTTP; `login`, `logout`
    apis        `api`, `workflow`
    run         `run FILE`
    runs        `runs`
    batches     `batches`, and `runs retry` and `cancel` with filters
    operators   `activity`
    reports     formats for continuous integration
    processes   `up`, `serve`, `worker`, `store`, `doctor`
    project     `init`, `new`, `secret`
"""
