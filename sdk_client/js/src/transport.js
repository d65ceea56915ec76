// Opening streams: by fetch where bodies can be read as they come, else by EventSource.

/** A request for a stream: `listener` is told `opened(status, headers)`, `received(bytes)`, `ended()` or `failed(reason)`. */
export function openByFetch(url, lastEventId, listener, fetch) {
  const controller = new AbortController();
  let left = false;
  const headers = { Accept: "text/event-stream" };
  if (lastEventId) headers["Last-Event-ID"] = lastEventId;
  // no-store: with any other mode the browser may hand out the running response again, or queue behind it.
  const request = { headers, cache: "no-store", credentials: "omit", signal: controller.signal };

  async function run() {
    try {
      const response = await fetch(url, request);
      if (left) return;
      listener.opened(response.status, response.headers);
      const reader = response.body?.getReader();
      while (reader && !left) {
        const { done, value } = await reader.read();
        if (done) break;
        if (!left) listener.received(value);
      }
    } catch (error) {
      if (!left) listener.failed(error?.message || String(error));
      return;
    }
    if (!left) listener.ended();
  }

  run();
  return {
    close() {
      left = true;
      controller.abort();
    },
  };
}

const HEAD = new Headers({ "Content-Type": "text/event-stream" });
const encoder = new TextEncoder();

/**
 * The same by EventSource, which tells neither headers nor heartbeats, and an end not from a cut. It is closed at its
 * first error, so that it never reconnects by rules of its own.
 */
export function openByEventSource(url, lastEventId, listener, EventSource) {
  const source = new EventSource(url);
  let live = false;
  source.addEventListener("open", () => {
    live = true;
    listener.opened(200, HEAD);
  });
  source.addEventListener("environment_updated", ({ type, data }) => {
    listener.received(encoder.encode(`event: ${type}\ndata: ${data.replaceAll("\n", "\ndata: ")}\n\n`));
  });
  source.addEventListener("error", () => {
    source.close();
    if (live) listener.ended();
    else listener.failed("the stream could not be opened");
  });
  return { close: () => source.close() };
}

/** Whether a body can be read while it comes. */
export function streamsBodies(fetch) {
  return Boolean(fetch && globalThis.ReadableStream && globalThis.AbortController && "body" in Response.prototype);
}

// An EventSource shows no heartbeats, so silence says less of it: it is left after some minutes of it instead.
const BLIND = 4;

/** How streams are opened here, and the `patience` with their heartbeats, in seconds. */
export function opener(url, heartbeat, { fetch = globalThis.fetch, EventSource = globalThis.EventSource }) {
  if (streamsBodies(fetch) || !EventSource) {
    return { open: (id, listener) => openByFetch(url, id, listener, fetch), patience: heartbeat };
  }
  return { open: (id, listener) => openByEventSource(url, id, listener, EventSource), patience: BLIND * heartbeat };
}
