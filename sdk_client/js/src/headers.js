// Reading the response headers that the rules depend on; a header that makes no sense counts as absent. `headers` is
// anything with `get(name)`, as fetch gives it.

const MAX_RETRY_AFTER = 300; // seconds: a longer one is cut to this, so that a wrong one does not silence the client
const JOIN_SHARE = 2 / 3; // of the lifetime: how long an edge is taken to add clients to a stream that does not say

export function isEventStream(headers) {
  const [type] = (headers.get("content-type") ?? "").split(";");
  return type.trim().toLowerCase() === "text/event-stream";
}

/** Seconds that a stream has left: X-Stream-Lifetime less Age; null where it is not announced. */
export function remainingLifetime(headers) {
  const lifetime = secondsIn(headers.get("x-stream-lifetime"));
  return lifetime === null ? null : Math.max(0, lifetime - age(headers));
}

/** Seconds for which an edge adds clients to this stream: X-Stream-Join-Window less Age; null where nothing is known. */
export function remainingJoinWindow(headers) {
  let window = secondsIn(headers.get("x-stream-join-window"));
  if (window === null) {
    const lifetime = secondsIn(headers.get("x-stream-lifetime"));
    if (lifetime === null) return null;
    window = lifetime * JOIN_SHARE;
  }
  return Math.max(0, window - age(headers));
}

/** Retry-After in seconds, 0 where there is none (RFC 9110, section 10.2.3); `unixNow` is in seconds. */
export function retryAfter(headers, unixNow = Date.now() / 1000) {
  const text = headers.get("retry-after")?.trim() ?? "";
  let seconds = secondsIn(text);
  if (seconds === null) seconds = /[a-z]/i.test(text) ? Date.parse(text) / 1000 - unixNow : 0;
  return Math.min(Math.max(0, seconds || 0), MAX_RETRY_AFTER);
}

function age(headers) {
  return secondsIn(headers.get("age")) ?? 0;
}

function secondsIn(text) {
  const seconds = text?.trim() ? Number(text) : NaN;
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : null;
}
