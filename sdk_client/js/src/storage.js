// The last known good flags, kept in the browser, so that a page starts with them when everything else is down.

import { flag } from "./flags.js";

const FORMAT = 1;
const ETAG = /^((W\/)?"[\x21\x23-\x7e]{0,256}")?$/; // anything else would make every request fail that carries it

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
  const { format, version, etag, flags } = packed ?? {};
  if (format !== FORMAT || !(Number.isSafeInteger(version) && version >= 0) || !Array.isArray(flags)) return null;
  if (!flags.every((each) => Array.isArray(each) && typeof each[0] === "string")) return null;
  const found = new Map(flags.map(([name, enabled, value]) => [name, flag(name, enabled === true, value)]));
  return { flags: found, version, etag: checkEtag(etag) };
}

/** The entity tag (RFC 9110, 8.8.3) as it is to be sent back, empty where it is none. */
export function checkEtag(etag) {
  return typeof etag === "string" && ETAG.test(etag) ? etag : "";
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
