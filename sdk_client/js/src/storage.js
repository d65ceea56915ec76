// The last known good flags, kept in the browser, so that a page starts with them when everything else is down.

import { flag } from "./flags.js";

const FORMAT = 1;

/** The browser's own storage, null where it is switched off: reading the property alone may throw. */
export function browserStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/** {flags, version, etag} as one value that can be sent and kept. */
export function pack({ flags, version, etag }) {
  return { format: FORMAT, version, etag, flags: [...flags.values()].map((each) => [each.name, each.enabled, each.value]) };
}

/** The document that `pack` made, null where it is none. */
export function unpack(packed) {
  if (packed?.format !== FORMAT || !Array.isArray(packed.flags) || !Number.isSafeInteger(packed.version)) return null;
  const flags = new Map();
  for (const [name, enabled, value] of packed.flags) flags.set(name, flag(String(name), enabled === true, value));
  return { flags, version: packed.version, etag: typeof packed.etag === "string" ? packed.etag : "" };
}

/** One document at each `place`, that of the last one: `who` it is for, empty for everybody. */
export function readKept(storage, place, who) {
  try {
    const kept = JSON.parse(storage?.getItem(place) ?? "null");
    return kept?.who === who ? unpack(kept) : null;
  } catch {
    return null; // somebody else's, or broken: as if there were none
  }
}

export function keep(storage, place, who, document) {
  try {
    storage?.setItem(place, JSON.stringify({ who, ...pack(document) }));
  } catch {
    // full, or switched off meanwhile: the next start has none
  }
}
