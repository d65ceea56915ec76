// Timers in seconds.

const LONGEST = 2 ** 31 - 1; // milliseconds; the browser fires a longer one at once

export function later(seconds, act) {
  return setTimeout(act, Math.min(seconds * 1000, LONGEST));
}
