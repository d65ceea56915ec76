"""The capacity planner: the client models at internet scale, by simulation.

A plan (`settings`) becomes arrays of clients (`fleet`), which `simulation` lets ask for streams: at edge nodes that
collapse what asks for the same environment (`nodes`), and at the processes of an origin that open so many a second
(`doors`). What came of it (`outcome`) is sized and priced (`sizing`, `costs`) and shown. All but the plan itself needs
numpy. It opens no connection.
"""
