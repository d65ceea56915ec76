"""What memory holds, what it costs, and finding the few documents of one key among many."""

from __future__ import annotations

import random

from stream_server.documents.document import Document, DocumentKey
from stream_server.documents.memory import Memory


def test_documents_are_found_by_key_and_by_environment_whatever_came_and_went() -> None:
    chosen = random.Random(3)
    memory = Memory(100_000)
    for step in range(2000):
        number = chosen.randrange(40)
        key = DocumentKey("flags", f"{chosen.choice(('', 'ser.'))}key-{number}", chosen.choice(("", "feature=f")))
        if chosen.random() < 0.2:
            memory.drop(key)
        else:
            environment = chosen.choice((f"key-{number}", "another", ""))
            memory.put(key, Document(step, 0, environment, b"x" * chosen.randrange(5000)), None)
    held = {key: entry.document.environment for key, entry in memory._entries.items()}
    assert 5 < len(held) < 100, "some were evicted, some were not"
    for name in {key.environment_key for key in held} | {"key-99"}:
        assert set(memory.of_environment_key(name)) == {key for key in held if key.environment_key == name}
    for environment in {*held.values(), "key-99"}:
        assert set(memory.of_environment(environment)) == {key for key in held if held[key] == environment}
    for key in held:
        memory.drop(key)
    assert (memory.size, memory._by_environment_key._keys, memory._by_environment._keys) == (0, {}, {})


def test_query_of_a_document_counts_as_memory() -> None:
    memory = Memory(1_000_000)
    for number in range(50):
        memory.put(DocumentKey("flags", "key", f"feature={'x' * 70_000}{number}"), Document(1, 0, "key", b""), None)
    assert len(memory) < 15
