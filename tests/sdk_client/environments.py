"""Environment documents as Flagsmith's servers send them, made by chance from a seed: same seed, same document."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

OPERATORS = [
    ("plan", "EQUAL", "free"),
    ("plan", "NOT_EQUAL", "pro"),
    ("plan", "CONTAINS", "r"),
    ("plan", "NOT_CONTAINS", "z"),
    ("plan", "IN", "free,pro"),
    ("plan", "IN", '["team", "pro"]'),
    ("plan", "REGEX", "^(free|team)$"),
    ("age", "GREATER_THAN", "40"),
    ("age", "GREATER_THAN_INCLUSIVE", "18"),
    ("age", "LESS_THAN", "65"),
    ("age", "LESS_THAN_INCLUSIVE", "30"),
    ("age", "MODULO", "3|1"),
    ("beta", "EQUAL", "true"),
    ("beta", "IS_SET", None),
    ("score", "IS_NOT_SET", None),
    ("score", "GREATER_THAN", "0.5"),
    ("version", "GREATER_THAN", "1.4.0:semver"),
    ("", "PERCENTAGE_SPLIT", "30"),
    ("plan", "PERCENTAGE_SPLIT", "50"),
    ("$.identity.identifier", "PERCENTAGE_SPLIT", "70"),
    ("$.identity.identifier", "REGEX", ".*7$"),
    ("$.environment.name", "EQUAL", "dev"),
]


def environment_document(seed: int, features: int = 30, segments: int = 12, overrides: int = 10) -> dict[str, Any]:
    """Return a document with segments of every operator, percentages, multivariates and identity overrides."""
    random = Random(seed)

    def state(number: int, *, variants: bool, priority: int | None = None) -> dict[str, Any]:
        made: dict[str, Any] = {
            "feature": {"id": number, "name": f"feature_{number}", "type": "MULTIVARIATE" if variants else "STANDARD"},
            "enabled": random.random() < 0.5,
            "feature_state_value": random.choice([None, "text", 3, True, f"value {random.random()}"]),
            "featurestate_uuid": str(uuid.UUID(int=random.getrandbits(128))),
            "django_id": random.choice([None, random.randrange(1, 10**6)]),
            "feature_segment": None if priority is None else {"priority": priority},
            "multivariate_feature_state_values": [
                {
                    "id": random.choice([None, random.randrange(1, 10**6)]),
                    "mv_fs_value_uuid": str(uuid.UUID(int=random.getrandbits(128))),
                    "percentage_allocation": random.choice([10, 20.5, 33]),
                    "multivariate_feature_option": {"id": option, "value": f"option {option}"},
                }
                for option in range(3 if variants else 0)
            ],
        }
        return made

    def rule(depth: int) -> dict[str, Any]:
        conditions = [
            {"property_": name, "operator": operator, "value": value}
            for name, operator, value in random.sample(OPERATORS, random.randrange(1, 4))
        ]
        inner = [rule(depth - 1) for _ in range(random.randrange(0, 3))] if depth else []
        return {"type": random.choice(["ALL", "ANY", "ANY", "NONE"]), "conditions": conditions, "rules": inner}

    def some(count: int) -> list[int]:
        return random.sample(range(features), min(features, count))

    return {
        "id": 1,
        "api_key": "env-key",
        "name": "dev",
        "updated_at": "2024-12-26T16:18:08.760123+00:00",
        "project": {
            "id": 1,
            "name": "project",
            "hide_disabled_flags": False,
            "segments": [
                {
                    "id": number,
                    "name": f"segment_{number}",
                    "rules": [{"type": "ALL", "conditions": [], "rules": [rule(1)]}],
                    "feature_states": [
                        state(feature, variants=random.random() < 0.3, priority=random.randrange(5))
                        for feature in some(4)
                    ],
                }
                for number in range(segments)
            ],
        },
        "feature_states": [state(number, variants=number % 3 == 0) for number in range(features)],
        "identity_overrides": [
            {
                "identifier": f"user-{number * 7}",
                "identity_features": [state(feature, variants=False) for feature in some(3)],
            }
            for number in range(overrides)
        ],
    }


def people(seed: int, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return identities with traits of every type; some traits are missing."""
    random = Random(seed)
    found = []
    for number in range(count):
        traits: dict[str, Any] = {
            "plan": random.choice(["free", "pro", "team", "7"]),
            "age": random.choice([17, 18, 29, 40, 41, 64, 65, 70]),
            "beta": random.random() < 0.5,
            "score": random.choice([0.25, 0.5, 0.75, None]),
            "version": random.choice(["1.3.9", "1.4.0", "2.0.0", "no version"]),
        }
        found.append((f"user-{number}", {name: value for name, value in traits.items() if random.random() < 0.8}))
    return found
