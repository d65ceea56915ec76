"""The dashboard: pages that people look at, rendered here and kept alive by a little JavaScript in `static/`.

Pages only read. Whatever changes something goes through the management API, with the session's cookie in place of
a token, so there is one set of rules. May use anything of `publisher`; nothing of `publisher` but its `app` uses this.
"""
