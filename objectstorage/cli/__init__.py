"""The command line: one file a command, thin over the library.

`_registry` lists the commands, `__main__` runs one; a command's module has
`configure(parser)` and `run(args, session, out)`.
"""
