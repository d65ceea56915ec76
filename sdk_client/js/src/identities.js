// Whose flags: an identity and its traits, checked where they enter.

import { ConfigurationError } from "./errors.js";

/** {identity, traits, who}: `traits` as entries in alphabetical order, `who` names both, empty for everybody. */
export function checkIdentity(identity, traits) {
  if (identity === null) return { identity, traits: null, who: "" };
  if (typeof identity !== "string" || !identity || !isUnicode(identity)) {
    throw new ConfigurationError("identity must be text that is not empty");
  }
  const checked = traits && checkTraits(traits);
  return { identity, traits: checked, who: JSON.stringify([identity, checked]) };
}

function checkTraits(traits) {
  if (typeof traits !== "object" || Array.isArray(traits)) {
    throw new ConfigurationError('traits must be an object, as in { plan: "free" }');
  }
  const entries = Object.entries(traits).filter(([, value]) => value !== undefined);
  for (const [name, value] of entries) {
    if (value === null || typeof value === "boolean" || typeof value === "string" || Number.isFinite(value)) continue;
    throw new ConfigurationError(`the trait ${name} must be text, a finite number, true, false or null`);
  }
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Half of a surrogate pair can be in no URL. */
function isUnicode(text) {
  try {
    return Boolean(encodeURIComponent(text));
  } catch {
    return false;
  }
}
