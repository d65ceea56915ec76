"""Flag documents, as SDKs refetch them: memory, then Redis, then the upstream, and a snapshot when all else is down.

The promise is about versions: who was told of a version of an environment gets that version of its documents or a
newer one, and never an older one after a newer one. This package decodes documents only to see that they are JSON
and which environment they are of; it never makes or changes one. It may not be waited for by a dispatch.
"""

from stream_server.documents.routes import Documents, FlagsDocument, NoDocumentError

__all__ = ["Documents", "FlagsDocument", "NoDocumentError"]
