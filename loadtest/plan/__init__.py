"""The capacity planner: the client models at internet scale, by simulation."""
