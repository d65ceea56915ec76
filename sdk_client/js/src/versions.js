// Version arithmetic: a version is an integer of microseconds since the Unix epoch, which a double holds exactly until
// the year 2255. On the wire it is `updated_at`, Unix seconds: the largest double not above the exact time.

const MILLION = 1e6;
const END = 2 ** 53;

/** The version whose wire number is `seconds`; throws RangeError where it is no time. */
export function versionOf(seconds) {
  // Until 2106 the number is less than half a microsecond below the exact time. That half is itself a double up to 2112
  // (2^52), so the rounded product is not below it, and Math.round rounds it up.
  const version = Math.round(seconds * MILLION);
  if (!(version > 0 && version < END)) throw new RangeError("updated_at is out of range");
  return version;
}

/** A version in Unix seconds, as events write it: the largest double not above it. */
export function secondsOf(version) {
  const seconds = version / MILLION; // correctly rounded, so at most one step too high
  const whole = Math.floor(seconds); // apart, for a fraction of few digits has an exact product
  if ((seconds - whole) * MILLION <= version - whole * MILLION) return seconds;
  return seconds - 2 ** (Math.floor(Math.log2(seconds)) - 52);
}

/** The version in an event's data, `{"updated_at": 1735229888.7601228}`; throws on anything else. */
export function eventVersion(data) {
  const seconds = JSON.parse(data)?.updated_at;
  if (typeof seconds !== "number") throw new TypeError("the event has no updated_at number");
  return versionOf(seconds);
}

/** The version in a header of decimal seconds, `1733480514.079725`; 0 where it is none. */
export function decimalSeconds(text) {
  const match = /^(\d{1,10})(?:\.(\d{1,9}))?$/.exec(text);
  if (!match) return 0;
  const version = Number(match[1]) * MILLION + Math.round(Number((match[2] ?? "").padEnd(9, "0")) / 1000);
  return version < END ? version : 0;
}

/** The version in a header of decimal microseconds; 0 where it is none. */
export function digits(text) {
  const version = /^\d{1,16}$/.test(text) ? Number(text) : 0;
  return version < END ? version : 0;
}
