"""`flagstream loadtest`: the load test on the command line. Each command is a module of its own, as is ``--local``."""
