// Flags at one moment: reading them with types and defaults, and what differs between two moments.

/** @typedef {{name: string, enabled: boolean, value: any}} Flag */

export function flag(name, enabled, value) {
  return Object.freeze({ name, enabled, value: value ?? null });
}

const told = new Set();

function tell(name, kind, value) {
  const what = `${kind} ${name}`;
  if (told.has(what) || told.size >= 1000) return; // a getter may run for every frame
  told.add(what);
  console.warn(`Flagstream: feature ${name}: ${String(JSON.stringify(value)).slice(0, 60)} is no ${kind}; the default is used`);
}

const NONE = Symbol("not of this type");

const READERS = {
  string: (value) => (typeof value === "string" ? value : NONE),
  boolean(value) {
    if (typeof value === "boolean") return value;
    const text = typeof value === "string" ? value.trim().toLowerCase() : "";
    return text === "true" ? true : text === "false" ? false : NONE;
  },
  number(value) {
    const is = typeof value === "string" && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value.trim()) ? Number(value) : value;
    return Number.isFinite(is) ? is : NONE;
  },
  integer(value) {
    const is = READERS.number(value);
    return Number.isSafeInteger(is) ? is : NONE;
  },
  json(value) {
    if (typeof value !== "string") return value;
    try {
      return JSON.parse(value);
    } catch {
      return NONE;
    }
  },
};

/**
 * Reads features of whatever has `flags`, a Map by name. Nothing here throws or waits: defaults are answered where there
 * is no such feature, no flags yet, no value, or a value of another type, which is logged once.
 */
export class Getters {
  /** Whether the feature is on. */
  isEnabled(name, otherwise = false) {
    return this.flags.get(name)?.enabled ?? otherwise;
  }

  /** The feature's value of any type, on or off. */
  value(name, otherwise = null) {
    const found = this.flags.get(name);
    return found === undefined ? otherwise : found.value;
  }

  /** The value (not the state) as a boolean: true, false, or the text "true" or "false". */
  boolean(name, otherwise) {
    return this.#read("boolean", name, otherwise);
  }

  string(name, otherwise) {
    return this.#read("string", name, otherwise);
  }

  /** The value as an integer: 3, or the text "3" or "3.0". */
  integer(name, otherwise) {
    return this.#read("integer", name, otherwise);
  }

  /** The value as a finite number: 2.5, or the text "2.5". */
  number(name, otherwise) {
    return this.#read("number", name, otherwise);
  }

  /** What the value's text says as JSON; a value that is no text is returned as it is. */
  json(name, otherwise = null) {
    return this.#read("json", name, otherwise);
  }

  /** The value if it is one of `choices`, so only what the code knows. */
  variant(name, choices, otherwise) {
    const value = this.value(name);
    if (value === null) return otherwise;
    if ([...choices].includes(value)) return value;
    tell(name, "variant", value);
    return otherwise;
  }

  #read(kind, name, otherwise) {
    const value = this.value(name);
    if (value === null) return otherwise;
    const read = READERS[kind](value);
    if (read !== NONE) return read;
    tell(name, kind, value);
    return otherwise;
  }
}

/** What changed from one Map of flags to another: {feature, old, new, enabled, oldEnabled, value, oldValue, version}. */
export function difference(old, now, version) {
  const change = (name) => {
    const [before, after] = [old.get(name) ?? null, now.get(name) ?? null];
    return Object.freeze({
      feature: name,
      old: before,
      new: after,
      enabled: after?.enabled ?? false,
      oldEnabled: before?.enabled ?? false,
      value: after?.value ?? null,
      oldValue: before?.value ?? null,
      version,
    });
  };
  const changed = [...now.keys()].filter((name) => !same(old.get(name), now.get(name)));
  return [...changed, ...[...old.keys()].filter((name) => !now.has(name))].map(change);
}

function same(a, b) {
  return a !== undefined && a.enabled === b.enabled && JSON.stringify(a.value) === JSON.stringify(b.value);
}
