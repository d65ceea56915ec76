// What can go wrong, as it is told to `on("error")` and by rejected promises.

/** An option that cannot work; nothing was started. */
export class ConfigurationError extends Error {
  name = "ConfigurationError";
}

/** The flags could not be fetched this time; the client tries again by itself. `retryAfter` is in seconds. */
export class DocumentError extends Error {
  name = "DocumentError";

  constructor(reason, { status = 0, retryAfter = 0 } = {}) {
    super(reason);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The server answered 401 or 403: the environment key is wrong, or not known (yet). */
export class KeyRefusedError extends DocumentError {
  name = "KeyRefusedError";
}

/** No flags came in time; `last` is the newest failure, null where nothing has failed yet. */
export class NotReadyError extends Error {
  name = "NotReadyError";

  constructor(timeout, last) {
    super(`no flags after ${timeout} s: ${last?.message ?? "no answer yet"}`);
    this.last = last;
  }
}
