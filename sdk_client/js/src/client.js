// `FlagClient`: an environment's flags in memory, held at the newest version by the stream.

import { checkKey, checkSeconds, checkUrl, streamAddress } from "./addresses.js";
import { Loader, readFlags } from "./documents.js";
import { Driver, monotonic } from "./driver.js";
import { Emitter } from "./emitter.js";
import { ConfigurationError, DocumentError, KeyRefusedError, NotReadyError } from "./errors.js";
import { Getters, difference } from "./flags.js";
import { checkIdentity } from "./identities.js";
import { Member } from "./member.js";
import { browserStorage, keep, pack, readKept, unpack } from "./storage.js";
import { Subscription } from "./subscription.js";
import { later } from "./timers.js";
import { opener } from "./transport.js";
import { secondsOf } from "./versions.js";

export class FlagClient extends Getters {
  #options;
  #emitter = new Emitter();
  #flags = new Map();
  #version = 0;
  #source = "none";
  #etag = "";
  #status = "starting";
  #connected = false;
  #lastError = null;
  #waiting = new Set();
  #member = null;
  #driver = null;
  #scope;
  #closed = false;

  constructor(options = {}) {
    super();
    this.#options = checked(options);
    if (options.onChange) this.on("change", options.onChange);
    const scope = checkIdentity(options.identity ?? null, options.traits ?? null);
    if (options.bootstrap) this.#put({ flags: readBootstrap(options.bootstrap), version: 0, etag: "" }, "bootstrap");
    this.#enter(scope);
  }

  /** All flags by name, as they are now; a later change makes another Map. */
  get flags() {
    return this.#flags;
  }

  /** Version of the flags in microseconds since the epoch; 0 while unknown. */
  get version() {
    return this.#version;
  }

  /** The version in Unix seconds, as events write it; null while unknown. */
  get updatedAt() {
    return this.#version ? secondsOf(this.#version) : null;
  }

  /** Where the flags came from: none, bootstrap, cache or server. */
  get source() {
    return this.#source;
  }

  /** starting, current, polling, stale, paused, offline or closed. */
  get status() {
    return this.#status;
  }

  /** Whether a stream is live now, in this tab or in the one that leads. */
  get connected() {
    return this.#connected;
  }

  /** Whether this tab has the stream; others are told by one that has. */
  get leading() {
    return this.#member?.leading ?? false;
  }

  /**
   * Wait until the server's flags are here, `timeout` seconds at most. Rejects with NotReadyError, or KeyRefusedError
   * where the server does not accept the key; the client goes on trying either way.
   */
  ready(timeout = 10) {
    if (this.#source === "server" || this.#status === "offline") return Promise.resolve(this);
    const waiting = this.#wait(timeout);
    waiting.catch(() => {}); // whoever does not wait for it is not told by the browser either
    return waiting;
  }

  #wait(timeout) {
    if (this.#lastError instanceof KeyRefusedError) return Promise.reject(this.#lastError);
    if (this.#closed) return Promise.reject(new NotReadyError(0, this.#lastError));
    return new Promise((resolve, reject) => {
      const settle = (act, result) => {
        clearTimeout(timer);
        this.#waiting.delete(waiter);
        act(result);
      };
      const waiter = { resolve: () => settle(resolve, this), reject: (error) => settle(reject, error) };
      const timer = later(timeout, () => waiter.reject(new NotReadyError(timeout, this.#lastError)));
      this.#waiting.add(waiter);
    });
  }

  /**
   * Call `callback` whenever it happens: "change" for each feature that changed, "update" once for all of them,
   * "status", "stream", "fetch", "error". The function returned ends that.
   */
  on(name, callback) {
    return this.#emitter.on(name, callback);
  }

  /** Take the flags of one identity from now on, null for the environment's own; resolves once they are here. */
  identify(identity, traits = null) {
    let scope;
    try {
      if (this.#closed) throw new ConfigurationError("the client is closed");
      scope = checkIdentity(identity, traits); // before anything is left: the client goes on as it was
    } catch (error) {
      return Promise.reject(error);
    }
    this.#leave();
    this.#enter(scope);
    return this.ready();
  }

  /** Look for news now, wherever a wait stands. */
  wake() {
    this.#member?.wake();
  }

  /** End everything; flags stay readable as they are. */
  close() {
    if (this.#closed) return;
    this.#leave();
    this.#closed = true; // before anybody is told, who may call back
    for (const waiter of [...this.#waiting]) waiter.reject(new NotReadyError(0, this.#lastError));
    this.#status = "closed";
    this.#emitter.emit("status", "closed");
    this.#emitter.clear();
  }

  #enter(scope) {
    const { apiUrl, streamUrl, environmentKey, storage, offline, shared, pauseAfter, relieveAfter } = this.#options;
    const place = `flagstream/1 ${apiUrl} ${environmentKey}`;
    const { who } = scope;
    this.#scope = { place, ...scope };
    this.#lastError = null;
    this.#etag = "";
    this.#version = 0; // of other flags: the document of these may be older
    if (this.#source === "server") this.#source = "cache"; // another identity's, until this one's are here
    const kept = readKept(storage, place, who);
    if (kept) this.#put(kept, "cache");
    if (offline) {
      this.#become("offline");
      return;
    }
    const part = {
      run: () => this.#run(),
      halt: (paused) => this.#halt(paused),
      woke: () => this.#driver.woke(),
      silence: () => this.#driver.silence,
      state: () => this.#state(),
      hear: (message) => this.#hear(message),
    };
    this.#become("starting");
    this.#member = new Member(`${place} ${streamUrl} ${who}`, part, { shared, pauseAfter, relieveAfter });
    this.#member.start();
  }

  #leave() {
    this.#member?.close();
    this.#member = null;
  }

  #run() {
    const { heartbeat, spread, pollInterval, streaming, random, backoff, fetch, EventSource } = this.#options;
    const url = streamAddress(this.#options.streamUrl, this.#options.environmentKey);
    const loader = new Loader({ ...this.#options, ...this.#scope, timeout: this.#options.requestTimeout });
    const { open, patience } = opener(url, heartbeat, { fetch, EventSource });
    const subscription = new Subscription({
      random,
      backoff,
      heartbeat: patience,
      spread,
      pollInterval,
      polls: !streaming,
      now: monotonic(),
      held: this.#version,
      loaded: this.#source === "server",
    });
    const driver = (this.#driver = new Driver(subscription, {
      open,
      load: (version, signal) => loader.load(version, this.#etag, signal),
      tell: (action) => this.#took(action, subscription),
    }));
    if (this.#source !== "server") this.#become("starting"); // whoever is told may close: then it starts nothing
    driver.start("start", ...(streaming ? ["follow"] : []));
  }

  #halt(paused) {
    this.#driver?.stop();
    this.#driver = null;
    this.#connect(false);
    if (paused) this.#become("paused");
  }

  #took(action, subscription) {
    this.#connect(subscription.connection.live);
    if (action.do === "keep") this.#keep(action, subscription.refetch.held);
    else if (action.do === "became") this.#become(action.status);
    else if (action.do === "live") this.#emitter.emit("stream", { opened: true, seconds: action.seconds });
    else if (action.do === "ended") this.#emitter.emit("stream", { opened: false, end: action.end, wait: action.wait });
    else if (action.do === "fetched") this.#fetched(action);
  }

  #fetched({ outcome, seconds, version, reason, error = null }) {
    this.#emitter.emit("fetch", { outcome, seconds, version, reason });
    if (!error) {
      this.#lastError = null;
      if (outcome === "older" && this.#source !== "server") this.#share(this.#held); // kept ones that are newer
      return;
    }
    this.#fail(error);
    this.#member?.tell({ kind: "fault", fault: { ...error, message: error.message } });
  }

  #fail(error) {
    const before = this.#lastError;
    this.#lastError = error;
    if (before?.name !== error.name) this.#emitter.emit("error", error); // once, not once an attempt
    if (error instanceof KeyRefusedError) for (const waiter of [...this.#waiting]) waiter.reject(error);
  }

  #keep({ answer, behind }, version) {
    const document = { flags: answer.flags ?? this.#flags, version, etag: answer.etag };
    keep(this.#options.storage, this.#scope.place, this.#scope.who, document);
    this.#share(document, behind);
  }

  get #held() {
    return { flags: this.#flags, version: this.#version, etag: this.#etag };
  }

  #share(document, behind) {
    this.#put(document, "server", behind);
    this.#member?.tell({ kind: "document", document: pack(document) });
  }

  #put({ flags, version, etag }, source, staleness = 0) {
    const first = this.#source === "none";
    const changes = difference(this.#flags, flags, version);
    const news = version !== this.#version || changes.length > 0;
    this.#version = version;
    this.#etag = etag;
    this.#source = source;
    if (changes.length) this.#flags = flags;
    if (source === "server") {
      this.#lastError = null;
      for (const waiter of [...this.#waiting]) waiter.resolve();
    }
    if (first || !news) return; // the first load is no change
    for (const change of changes) this.#emitter.emit("change", change);
    this.#emitter.emit("update", { changes, version, staleness });
  }

  #state() {
    const document = this.#source === "server" ? pack(this.#held) : null;
    const fault = this.#lastError && { ...this.#lastError, message: this.#lastError.message };
    return { kind: "state", status: this.#status, connected: this.#connected, document, fault };
  }

  #hear(message) {
    const document = unpack(message.document);
    if (document) this.#put(document.version < this.#version ? this.#held : document, "server");
    if (message.fault) this.#fail(faultOf(message.fault));
    if (message.kind !== "state") return;
    this.#connected = message.connected;
    this.#become(message.status);
  }

  #become(status) {
    if (this.#closed || status === this.#status) return;
    this.#status = status;
    this.#member?.tell({ kind: "state", status, connected: this.#connected });
    this.#emitter.emit("status", status);
  }

  #connect(connected) {
    if (connected === this.#connected) return;
    this.#connected = connected;
    this.#member?.tell({ kind: "state", status: this.#status, connected });
  }
}

/** The leader's failure: what is sent between tabs comes without its class. */
function faultOf({ name, message, status, retryAfter }) {
  const Kind = name === "KeyRefusedError" ? KeyRefusedError : DocumentError;
  return new Kind(message, { status, retryAfter });
}

function readBootstrap(bootstrap) {
  try {
    if (typeof bootstrap === "object") return readFlags(bootstrap);
  } catch (error) {
    throw new ConfigurationError(`bootstrap cannot be read: ${error.message}`);
  }
  throw new ConfigurationError("bootstrap must be an object or a list");
}

function checked({
  environmentKey,
  apiUrl,
  streamUrl = apiUrl,
  spread = 0,
  heartbeat = 15,
  pollInterval = 60,
  requestTimeout = 5,
  pauseAfter = 300,
  relieveAfter,
  streaming = true,
  offline = false,
  shared = true,
  storage = browserStorage(),
  random = Math.random,
  backoff,
  fetch = globalThis.fetch?.bind(globalThis),
  EventSource = globalThis.EventSource,
}) {
  checkSeconds({ spread, pollInterval, pauseAfter, ...(relieveAfter !== undefined && { relieveAfter }) });
  checkSeconds({ heartbeat, requestTimeout, ...(!streaming && { pollInterval }) }, { above: true });
  return {
    environmentKey: checkKey(environmentKey),
    apiUrl: checkUrl(apiUrl, "apiUrl"),
    streamUrl: checkUrl(streamUrl, "streamUrl"),
    ...{ spread, heartbeat, requestTimeout, pauseAfter, relieveAfter, streaming, offline, shared },
    pollInterval: pollInterval || Infinity,
    ...{ storage, random, backoff, fetch, EventSource },
  };
}
