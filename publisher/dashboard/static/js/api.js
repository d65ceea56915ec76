// The management API as the pages use it: the session's cookie, a header that no other site can send, and refusals
// that know what to tell a person.

const PATIENCE = 10_000; // milliseconds

/** What the API, or the way to it, refused. `kind`: lost, late, session, stale, gone, invalid, failed. */
export class Refusal extends Error {
  constructor(kind, message, problem = {}) {
    super(message);
    this.kind = kind;
    this.problem = problem;
  }
}

const KINDS = { 401: "session", 404: "gone", 412: "stale", 413: "invalid", 415: "invalid", 422: "invalid" };

export async function call(method, path, body) {
  const headers = { Accept: "application/json", "X-Flagstream-Dashboard": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let content;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    const text = await response.text();
    content = text && response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null;
  } catch (error) {
    if (error.name === "TimeoutError") throw new Refusal("late", "The publisher took too long to answer.");
    throw new Refusal("lost", "The publisher cannot be reached.");
  }
  if (response.ok) return content;
  throw refusal(response, content ?? {});
}

function refusal(response, problem) {
  let kind = KINDS[response.status] ?? "failed";
  if (response.status === 409) kind = problem.code === "stale-version" ? "stale" : "invalid";
  if (kind === "session") tellSessionIsOver();
  return new Refusal(kind, problem.detail ?? `The publisher answered ${response.status}.`, problem);
}

/** Every item of a list, over all its pages. */
export async function all(path) {
  const items = [];
  for (let next = path; next; ) {
    const page = await call("GET", next);
    items.push(...page.items);
    next = page.next;
  }
  return items;
}

/** A path made of parts, each of them one segment. */
export function path(...segments) {
  return "/api/" + segments.map(encodeURIComponent).join("/");
}

export function signInAddress() {
  return "/sign-in?next=" + encodeURIComponent(location.pathname + location.search);
}

function tellSessionIsOver() {
  const banner = document.getElementById("banner");
  const link = document.createElement("a");
  link.href = signInAddress();
  link.textContent = "Sign in again";
  banner.replaceChildren("Your session is over, so nothing more can be changed here. ", link);
  banner.hidden = false;
}
