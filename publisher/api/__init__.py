"""The management API over HTTP: reads requests, calls the store's functions, writes answers. Holds no rules of its own.

Every route is an `Operation`, from which both the mounted route and its part of the OpenAPI document are made.
"""
