// Flagstream 0.1.0, Apache-2.0. Made of src/ by build.mjs; src/ has the comments, flagstream.d.ts the types.

class ConfigurationError extends Error {
  name = "ConfigurationError";
}

class DocumentError extends Error {
  name = "DocumentError";

  constructor(reason, { status = 0, retryAfter = 0 } = {}) {
    super(reason);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

class KeyRefusedError extends DocumentError {
  name = "KeyRefusedError";
}

class NotReadyError extends Error {
  name = "NotReadyError";

  constructor(timeout, last) {
    super(`no flags after ${timeout} s: ${last?.message ?? "no answer yet"}`);
    this.last = last;
  }
}

function checkKey(key) {
  if (String(key).startsWith("ser.")) {
    throw new ConfigurationError("environmentKey is a server key, which a browser would show to everybody");
  }
  if (typeof key !== "string" || !/^[A-Za-z0-9_-]{1,128}$/.test(key)) {
    throw new ConfigurationError("environmentKey must be 1 to 128 letters, digits, '-' or '_'");
  }
  return key;
}

function checkUrl(url, option) {
  let parsed;
  try {
    parsed = new URL(url || "//", globalThis.location?.href);
  } catch {
    throw new ConfigurationError(`${option} is not a URL`);
  }
  if (!/^https?:$/.test(parsed.protocol)) throw new ConfigurationError(`${option} must begin with http:// or https://`);
  if (parsed.username || parsed.password) throw new ConfigurationError(`${option} must have no password: fetch refuses it`);
  if (parsed.search || parsed.hash) throw new ConfigurationError(`${option} must have neither a query nor a fragment`);
  return parsed.href.replace(/\/+$/, "").replace(/\/api\/v1$/, "");
}

function checkSeconds(seconds, { above = false } = {}) {
  for (const [option, value] of Object.entries(seconds)) {
    if (typeof value === "number" && (above ? value > 0 : value >= 0)) continue;
    throw new ConfigurationError(`${option} must be ${above ? "above 0 seconds" : "0 seconds or more"}`);
  }
}

function streamAddress(streamUrl, environmentKey) {
  return `${streamUrl}/sse/environments/${environmentKey}/stream`;
}

function flag(name, enabled, value) {
  return Object.freeze({ name, enabled, value: value ?? null });
}

const told = new Set();

function tell(name, kind, value) {
  const what = `${kind} ${name}`;
  if (told.has(what) || told.size >= 1000) return;
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

class Getters {
  isEnabled(name, otherwise = false) {
    return this.flags.get(name)?.enabled ?? otherwise;
  }

  value(name, otherwise = null) {
    const found = this.flags.get(name);
    return found === undefined ? otherwise : found.value;
  }

  boolean(name, otherwise) {
    return this.#read("boolean", name, otherwise);
  }

  string(name, otherwise) {
    return this.#read("string", name, otherwise);
  }

  integer(name, otherwise) {
    return this.#read("integer", name, otherwise);
  }

  number(name, otherwise) {
    return this.#read("number", name, otherwise);
  }

  json(name, otherwise = null) {
    return this.#read("json", name, otherwise);
  }

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

function difference(old, now, version) {
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

const MAX_RETRY_AFTER = 300;
const JOIN_SHARE = 2 / 3;

function isEventStream(headers) {
  const [type] = (headers.get("content-type") ?? "").split(";");
  return type.trim().toLowerCase() === "text/event-stream";
}

function remainingLifetime(headers) {
  const lifetime = secondsIn(headers.get("x-stream-lifetime"));
  return lifetime === null ? null : Math.max(0, lifetime - age(headers));
}

function remainingJoinWindow(headers) {
  let window = secondsIn(headers.get("x-stream-join-window"));
  if (window === null) {
    const lifetime = secondsIn(headers.get("x-stream-lifetime"));
    if (lifetime === null) return null;
    window = lifetime * JOIN_SHARE;
  }
  return Math.max(0, window - age(headers));
}

function retryAfter(headers, unixNow = Date.now() / 1000) {
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

const FORMAT = 1;
const ETAG = /^((W\/)?"[\x21\x23-\x7e]{0,256}")?$/;

function browserStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

function pack({ flags, version, etag }) {
  return { format: FORMAT, version, etag, flags: [...flags.values()].map((each) => [each.name, each.enabled, each.value]) };
}

function unpack(packed) {
  const { format, version, etag, flags } = packed ?? {};
  if (format !== FORMAT || !(Number.isSafeInteger(version) && version >= 0) || !Array.isArray(flags)) return null;
  if (!flags.every((each) => Array.isArray(each) && typeof each[0] === "string")) return null;
  const found = new Map(flags.map(([name, enabled, value]) => [name, flag(name, enabled === true, value)]));
  return { flags: found, version, etag: checkEtag(etag) };
}

function checkEtag(etag) {
  return typeof etag === "string" && ETAG.test(etag) ? etag : "";
}

function readKept(storage, place, who) {
  try {
    const kept = JSON.parse(storage?.getItem(place) ?? "null");
    return kept?.who === who ? unpack(kept) : null;
  } catch {
    return null;
  }
}

function keep(storage, place, who, document) {
  try {
    storage?.setItem(place, JSON.stringify({ who, ...pack(document) }));
  } catch {
  }
}

const LONGEST = 2 ** 31 - 1;

function later(seconds, act) {
  return setTimeout(act, Math.min(seconds * 1000, LONGEST));
}

const MILLION = 1e6;
const END = 2 ** 53;

function versionOf(seconds) {
  const version = Math.round(seconds * MILLION);
  if (!(version > 0 && version < END)) throw new RangeError("updated_at is out of range");
  return version;
}

function secondsOf(version) {
  const seconds = version / MILLION;
  const whole = Math.floor(seconds);
  if ((seconds - whole) * MILLION <= version - whole * MILLION) return seconds;
  return seconds - 2 ** (Math.floor(Math.log2(seconds)) - 52);
}

function eventVersion(data) {
  const seconds = JSON.parse(data)?.updated_at;
  if (typeof seconds !== "number") throw new TypeError("the event has no updated_at number");
  return versionOf(seconds);
}

function decimalSeconds(text) {
  const match = /^(\d{1,10})(?:\.(\d{1,9}))?$/.exec(text);
  if (!match) return 0;
  const version = Number(match[1]) * MILLION + Math.round(Number((match[2] ?? "").padEnd(9, "0")) / 1000);
  return version < END ? version : 0;
}

function digits(text) {
  const version = /^\d{1,16}$/.test(text) ? Number(text) : 0;
  return version < END ? version : 0;
}

const MAX_BODY = 16 * 1024 * 1024;

function readFlags(content) {
  const found = Array.isArray(content) ? content.map(item) : Object.entries(content ?? {}).map(state);
  const flags = new Map(found.map((each) => [each.name, each]));
  if (flags.size < found.length) throw new DocumentError("the flags document holds a feature twice");
  return flags;
}

function item(content) {
  const name = content?.feature?.name;
  if (typeof name !== "string" || typeof content.enabled !== "boolean") {
    throw new DocumentError("the flags document holds something that is no flag");
  }
  return flag(name, content.enabled, content.feature_state_value);
}

function state([name, content]) {
  if (typeof content === "boolean") return flag(name, content);
  if (content === null || typeof content !== "object") return flag(name, true, content);
  const { enabled = true, value = null } = content;
  if (typeof enabled !== "boolean") throw new DocumentError(`${name} has an enabled that is neither true nor false`);
  return flag(name, enabled, copied(name, value));
}

function copied(name, value) {
  try {
    return JSON.parse(JSON.stringify(value) ?? "null");
  } catch {
    throw new DocumentError(`${name} has a value that JSON does not know`);
  }
}

class Loader {
  #url;
  #body;
  #key;
  #timeout;
  #fetch;

  constructor({ apiUrl, environmentKey, identity = null, traits = null, timeout, fetch }) {
    this.#key = environmentKey;
    this.#timeout = timeout;
    this.#fetch = fetch;
    if (identity === null) this.#url = `${apiUrl}/api/v1/flags/`;
    else if (traits === null) this.#url = `${apiUrl}/api/v1/identities/?identifier=${encodeURIComponent(identity)}`;
    else {
      this.#url = `${apiUrl}/api/v1/identities/`;
      const listed = traits.map(([name, value]) => ({ trait_key: name, trait_value: value }));
      this.#body = JSON.stringify({ identifier: identity, traits: listed });
    }
  }

  async load(version, etag, signal) {
    const headers = { Accept: "application/json", "X-Environment-Key": this.#key };
    const post = this.#body !== undefined;
    if (post) headers["Content-Type"] = "application/json";
    else if (etag) headers["If-None-Match"] = etag;
    const query = version ? `${this.#url.includes("?") ? "&" : "?"}v=${version}` : "";
    const { response, text } = await this.#ask(this.#url + query, {
      method: post ? "POST" : "GET",
      headers,
      body: this.#body,
    }, signal);
    const unchanged = response.status === 304 && Boolean(etag);
    if (!unchanged) refuse(response);
    const label = digits(response.headers.get("x-flagstream-version") ?? "");
    return {
      flags: unchanged ? null : read(text),
      version: label || decimalSeconds(response.headers.get("x-flagsmith-document-updated-at") ?? ""),
      labelled: label > 0,
      stale: response.headers.get("x-flagstream-stale") === "1",
      etag: unchanged ? etag : checkEtag(response.headers.get("etag")),
    };
  }

  async #ask(url, request, signal) {
    const controller = new AbortController();
    const abort = () => controller.abort();
    const timer = later(this.#timeout, abort);
    signal.addEventListener("abort", abort, { signal: controller.signal });
    try {
      const options = { ...request, cache: "no-store", credentials: "omit", signal: controller.signal };
      const response = await this.#fetch(url, options);
      return { response, text: await textOf(response) };
    } catch (error) {
      if (error instanceof DocumentError) throw error;
      if (controller.signal.aborted) throw new DocumentError(`no answer within ${this.#timeout} s`);
      throw new DocumentError(`cannot reach the flags API: ${error.message}`);
    } finally {
      clearTimeout(timer);
      abort();
    }
  }
}

async function textOf(response) {
  const reader = response.body?.getReader();
  if (!reader) return response.text();
  const decoder = new TextDecoder();
  let text = "";
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.length;
    if (size > MAX_BODY) throw new DocumentError(`the document is larger than ${MAX_BODY} bytes`, { status: response.status });
    text += decoder.decode(value, { stream: true });
  }
}

function refuse({ status, headers }) {
  if (status === 200) return;
  if (status === 401 || status === 403) {
    throw new KeyRefusedError(`the server refused the environment key (${status})`, { status });
  }
  const hint = status === 404 ? "; is apiUrl right?" : "";
  throw new DocumentError(`the server answered ${status}${hint}`, { status, retryAfter: retryAfter(headers) });
}

function read(text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new DocumentError("the answer is not JSON");
  }
  const items = Array.isArray(content) ? content : content?.flags;
  if (!Array.isArray(items)) throw new DocumentError("the flags document is not a list; is apiUrl a flags API?");
  return readFlags(items);
}

function monotonic() {
  return performance.now() / 1000;
}

class Driver {
  #machine;
  #open;
  #load;
  #tell;
  #streams = new Map();
  #timer;
  #stopped = false;
  #heard = -Infinity;
  #aborter = new AbortController();

  constructor(machine, { open, load, tell }) {
    this.#machine = machine;
    this.#open = open;
    this.#load = load;
    this.#tell = tell;
  }

  start(...steps) {
    for (const step of steps) this.#carryOut(this.#machine[step](monotonic()));
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const stream of this.#streams.values()) stream.close();
    this.#streams.clear();
    this.#aborter.abort();
  }

  get silence() {
    return monotonic() - this.#heard;
  }

  woke() {
    this.#carryOut(this.#machine.woke(monotonic()));
  }

  #carryOut(actions) {
    for (const action of actions) {
      if (this.#stopped) return;
      if (action.do === "open") this.#begin(action);
      if (action.do === "close") this.#leave(action.stream);
      if (action.do === "fetch") this.#fetch(action.version);
      this.#tell(action);
    }
    this.#plan();
  }

  #begin({ stream, lastEventId }) {
    const machine = this.#machine;
    const take = (step) => {
      if (!this.#stopped) this.#carryOut(step(monotonic()));
    };
    const listener = {
      opened: (status, headers) => take((now) => machine.opened(stream, status, headers, now)),
      received: (bytes) => take((now) => machine.received(stream, bytes, (this.#heard = now))),
      ended: () => take((now) => (this.#streams.delete(stream), machine.ended(stream, now))),
      failed: (reason) => take((now) => (this.#streams.delete(stream), machine.failed(stream, reason, now))),
    };
    this.#streams.set(stream, this.#open(lastEventId, listener));
  }

  #leave(stream) {
    this.#streams.get(stream)?.close();
    this.#streams.delete(stream);
  }

  async #fetch(asked) {
    const began = monotonic();
    let answer;
    let fault = null;
    try {
      answer = await this.#load(asked, this.#aborter.signal);
    } catch (error) {
      fault = error;
    }
    if (this.#stopped) return;
    const now = monotonic();
    const seconds = now - began;
    if (fault) {
      this.#tell({ do: "fetched", outcome: "failed", seconds, version: 0, reason: fault.message, error: fault });
      this.#carryOut(this.#machine.fetchFailed(now, fault.retryAfter));
      return;
    }
    const actions = this.#machine.fetched(answer, now);
    const keep = actions.find((action) => action.do === "keep");
    if (keep) keep.answer = answer;
    const outcome = keep ? (answer.flags ? "new" : "unchanged") : "older";
    this.#tell({ do: "fetched", outcome, seconds, version: answer.version, reason: "" });
    this.#carryOut(actions);
  }

  #plan() {
    clearTimeout(this.#timer);
    const { deadline } = this.#machine;
    if (this.#stopped || deadline === Infinity) return;
    const fire = () => this.#carryOut(this.#machine.tick(Math.max(monotonic(), Math.min(deadline, monotonic() + 0.1))));
    this.#timer = later(Math.max(0, deadline - monotonic()), fire);
  }
}

class Emitter {
  #callbacks = new Map();

  on(name, callback) {
    const callbacks = this.#callbacks.get(name) ?? new Set();
    const call = (what) => callback(what);
    this.#callbacks.set(name, callbacks.add(call));
    return () => void callbacks.delete(call);
  }

  clear() {
    this.#callbacks.clear();
  }

  emit(name, what) {
    for (const call of [...(this.#callbacks.get(name) ?? [])]) {
      try {
        call(what);
      } catch (error) {
        if (globalThis.reportError) reportError(error);
        else console.error(error);
      }
    }
  }
}

function checkIdentity(identity, traits) {
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

function isUnicode(text) {
  try {
    return Boolean(encodeURIComponent(text));
  } catch {
    return false;
  }
}

const PULSE = 5;
const SLEPT = 5;

function clocks() {
  return { wall: Date.now() / 1000, steady: performance.now() / 1000 };
}

class Presence {
  #tell;
  #pauseAfter;
  #pausing;
  #pulsing;
  #last = clocks();
  #stop = new AbortController();

  constructor(pauseAfter, tell) {
    this.#pauseAfter = pauseAfter;
    this.#tell = tell;
  }

  get hidden() {
    return globalThis.document?.visibilityState === "hidden";
  }

  start() {
    const listen = (target, names, act) => {
      for (const name of names) target?.addEventListener?.(name, act, { signal: this.#stop.signal });
    };
    const { document, navigator } = globalThis;
    listen(document, ["visibilitychange"], () => this.#look());
    listen(document, ["freeze"], () => this.#tell("frozen"));
    listen(document, ["resume"], () => this.#tell("thawed"));
    if (document) {
      listen(globalThis, ["pagehide"], () => this.#tell("frozen"));
      listen(globalThis, ["pageshow"], (event) => event.persisted && this.#tell("thawed"));
    }
    listen(globalThis, ["online"], () => this.#tell("woke"));
    let network = navigator?.connection?.type;
    listen(navigator?.connection, ["change"], () => {
      const before = network;
      network = navigator.connection.type;
      if (network !== before) this.#tell("woke");
    });
    this.#pulsing = setInterval(() => this.#pulse(), PULSE * 1000);
    this.#pulsing.unref?.();
    if (this.hidden) this.#look();
  }

  stop() {
    this.#stop.abort();
    clearTimeout(this.#pausing);
    clearInterval(this.#pulsing);
  }

  #look() {
    clearTimeout(this.#pausing);
    this.#last = clocks();
    if (this.hidden) {
      if (this.#pauseAfter < Infinity) this.#pausing = later(this.#pauseAfter, () => this.#tell("paused"));
      this.#tell("hidden");
    } else {
      this.#tell("visible");
    }
  }

  #pulse() {
    const [before, now] = [this.#last, clocks()];
    this.#last = now;
    const passed = now.steady - before.steady;
    const parted = now.wall - before.wall - passed;
    if (parted > SLEPT || (passed > PULSE + SLEPT && !this.hidden)) this.#tell("woke");
    this.#tell("pulse");
  }
}

const SILENCE = 45;
const SILENCE_HIDDEN = 200;
const ANSWER = 5;
const RELIEF = 5;
const HESITATE = 0.1;

class Tabs {
  #name;
  #part;
  #locks;
  #channel = null;
  #leading = false;
  #release = null;
  #queued = null;
  #heard = 0;
  #asking = false;
  #relieveAfter;
  #taking;

  constructor(name, part, { shared, relieveAfter = RELIEF * (1 + Math.random()) }) {
    this.#name = name;
    this.#part = part;
    this.#relieveAfter = relieveAfter;
    const { navigator, BroadcastChannel } = globalThis;
    this.#locks = shared && BroadcastChannel && navigator?.locks ? navigator.locks : null;
  }

  get leading() {
    return this.#leading;
  }

  start() {
    if (!this.#locks) {
      this.#leading = true;
      this.#part.lead();
      return;
    }
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#request();
    this.ask();
  }

  stop() {
    this.#forget();
    this.#leading = false;
    this.#queued?.abort();
    this.#release?.();
    this.#queued = this.#release = null;
    this.#channel?.close();
    this.#channel = null;
  }

  post(message) {
    const { hidden, resting } = this.#part;
    this.#channel?.postMessage({ ...message, leads: this.#leading, hidden, resting });
  }

  ask() {
    if (this.#leading) return;
    this.#heard = performance.now();
    this.#asking = true;
    this.#takeSoon(ANSWER);
    this.post({ kind: "hello" });
  }

  pulse() {
    if (!this.#channel || this.#leading) return;
    const silence = this.#part.hidden ? SILENCE_HIDDEN : SILENCE;
    if (performance.now() - this.#heard > silence * 1000) this.#request({ steal: true });
  }

  #hear(message) {
    if (typeof message?.leads !== "boolean") return;
    if (message.leads) {
      if (this.#leading) return;
      this.#heard = performance.now();
      this.#relieve(message);
    }
    this.#part.hear(message);
  }

  #relieve({ hidden, resting }) {
    if (this.#asking || !hidden || resting) this.#forget();
    if (!hidden || this.#part.hidden) return;
    this.#takeSoon(HESITATE * Math.random() + (resting ? 0 : this.#relieveAfter));
  }

  #forget() {
    clearTimeout(this.#taking);
    this.#taking = undefined;
    this.#asking = false;
  }

  #takeSoon(seconds) {
    this.#taking ??= later(seconds, () => {
      this.#taking = undefined;
      if (this.#channel && !this.#leading && !this.#part.hidden) this.#request({ steal: true });
    });
  }

  #request(how) {
    this.#queued?.abort();
    const queued = (this.#queued = new AbortController());
    const granted = () => {
      if (queued.signal.aborted || !this.#channel) return undefined;
      this.#forget();
      this.#leading = true;
      const held = new Promise((resolve) => (this.#release = resolve));
      this.#part.lead();
      return held;
    };
    const options = how ?? { signal: queued.signal };
    this.#heard = performance.now();
    this.#locks.request(this.#name, options, granted).catch((error) => {
      if (queued.signal.aborted || !this.#channel) return;
      if (error.name !== "AbortError") {
        this.#alone();
        return;
      }
      this.#leading = false;
      this.#release = null;
      this.#part.follow();
      this.#request();
      this.ask();
    });
  }

  #alone() {
    this.stop();
    this.#locks = null;
    this.start();
  }
}

const DEAF = 20;

class Member {
  #part;
  #tabs;
  #presence;
  #running = false;
  #paused = false;
  #frozen = false;
  #closed = false;

  constructor(name, part, { shared, pauseAfter, relieveAfter }) {
    this.#part = part;
    this.#presence = new Presence(pauseAfter, (what) => this.#took(what));
    const member = this;
    const seat = {
      lead: () => {
        this.#arrange();
        if (this.#paused) part.halt(true);
      },
      follow: () => this.#arrange(),
      hear: (message) => this.#hear(message),
      get hidden() {
        return member.#presence.hidden;
      },
      get resting() {
        return member.#paused;
      },
    };
    this.#tabs = new Tabs(name, seat, { shared, relieveAfter });
  }

  get leading() {
    return this.#tabs.leading;
  }

  start() {
    this.#presence.start();
    this.#tabs.start();
  }

  close() {
    this.#closed = true;
    this.#presence.stop();
    this.#arrange();
    this.#tabs.stop();
  }

  tell(message) {
    if (this.leading) this.#tabs.post(message);
  }

  wake() {
    if (this.#running) this.#part.woke();
    else if (!this.leading) this.#tabs.post({ kind: "wake" });
  }

  #hear(message) {
    if (!this.leading) {
      if (message.leads) this.#part.hear(message);
    } else if (message.kind === "hello") this.tell(this.#part.state());
    else if (message.kind === "wake") this.wake();
  }

  #took(what) {
    if (what === "paused") this.#paused = true;
    if (what === "visible") this.#paused = false;
    if (what === "frozen") this.#freeze();
    if (what === "thawed") this.#thaw();
    if (what === "woke") this.wake();
    if (what === "pulse") this.#pulse();
    this.#arrange();
    if (what === "visible" && !this.leading) this.#tabs.ask();
    if (what === "visible" && this.#running && this.#part.silence() > DEAF) this.wake();
    if (what === "visible" || what === "hidden") this.tell({ kind: "alive" });
  }

  #freeze() {
    if (this.#frozen) return;
    this.#frozen = true;
    this.#arrange();
    this.#tabs.stop();
  }

  #thaw() {
    if (!this.#frozen) return;
    this.#frozen = false;
    this.#tabs.start();
  }

  #pulse() {
    if (this.#frozen) return;
    this.#tabs.pulse();
    this.tell({ kind: "alive" });
  }

  #arrange() {
    const runs = this.leading && !this.#paused && !this.#frozen && !this.#closed;
    if (runs === this.#running) return;
    this.#running = runs;
    if (runs) this.#part.run();
    else this.#part.halt(this.#paused);
    if (!this.#closed) this.tell(this.#part.state());
  }
}

const LF = 10;
const CR = 13;
const COLON = 58;
const SPACE = 32;
const MAX_RETRY_DIGITS = 12;
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

class StreamLimitError extends Error {
  constructor(what, limit) {
    super(`${what} of the stream is longer than ${limit} bytes`);
    this.name = "StreamLimitError";
    this.what = what;
    this.limit = limit;
  }
}

class Decoder {
  lastEventId;
  #maxLine;
  #maxEvent;
  #partial = new Uint8Array(256);
  #length = 0;
  #first = true;
  #skipLf = false;
  #type = "";
  #data = [];
  #dataSize = 0;
  #id;

  constructor({ maxLine = 65_536, maxEvent = 262_144, lastEventId = "" } = {}) {
    this.lastEventId = this.#id = lastEventId;
    this.#maxLine = maxLine;
    this.#maxEvent = maxEvent;
  }

  *feed(bytes) {
    let start = 0;
    if (this.#skipLf && bytes.length) {
      this.#skipLf = false;
      if (bytes[0] === LF) start = 1;
    }
    for (let at = start; at < bytes.length; at++) {
      if (bytes[at] !== LF && bytes[at] !== CR) continue;
      const item = this.#line(this.#takeLine(bytes.subarray(start, at)));
      if (bytes[at] === CR) {
        if (at + 1 === bytes.length) this.#skipLf = true;
        else if (bytes[at + 1] === LF) at += 1;
      }
      start = at + 1;
      if (item) yield item;
    }
    this.#keep(bytes.subarray(start));
  }

  #keep(bytes) {
    const length = this.#length + bytes.length;
    if (length > this.#maxLine) throw new StreamLimitError("a line", this.#maxLine);
    if (length > this.#partial.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#partial.length));
      larger.set(this.#partial.subarray(0, this.#length));
      this.#partial = larger;
    }
    this.#partial.set(bytes, this.#length);
    this.#length = length;
  }

  #takeLine(rest) {
    this.#keep(rest);
    const line = this.#partial.subarray(0, this.#length);
    this.#length = 0;
    if (!this.#first) return line;
    this.#first = false;
    const marked = line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf;
    return marked ? line.subarray(3) : line;
  }

  #line(line) {
    if (!line.length) return this.#dispatch();
    let colon = line.indexOf(COLON);
    if (colon < 0) colon = line.length;
    const name = utf8.decode(line.subarray(0, colon));
    let value = line.subarray(colon + 1);
    if (name === "") return { kind: "comment", text: utf8.decode(value) };
    if (value[0] === SPACE) value = value.subarray(1);
    const text = utf8.decode(value);
    if (name === "data") this.#addData(text, value.length);
    else if (name === "event") this.#type = text;
    else if (name === "id" && !text.includes("\0")) this.#id = text;
    else if (name === "retry" && /^\d+$/.test(text)) {
      return { kind: "retry", milliseconds: Number(text.slice(0, MAX_RETRY_DIGITS)) };
    }
    return null;
  }

  #addData(text, size) {
    this.#dataSize += size + 1;
    if (this.#dataSize > this.#maxEvent) throw new StreamLimitError("an event", this.#maxEvent);
    this.#data.push(text);
  }

  #dispatch() {
    const { length } = this.#data;
    const event = { kind: "event", type: this.#type || "message", data: this.#data.join("\n"), id: this.#id };
    this.lastEventId = this.#id;
    this.#type = "";
    this.#data = [];
    this.#dataSize = 0;
    return length ? event : null;
  }
}

const CLEAN_WAIT = 2;
const PROVEN = 10;
const MAX_RETRY = 60;
const LIVED = 1;

function uniform(random, from, to) {
  return from + (to - from) * random();
}

class Backoff {
  constructor({ base = 1, cap = 30, least = 1 } = {}) {
    Object.assign(this, { base, cap, least });
  }

  delay(failures, random, { floor = 0, most = Infinity } = {}) {
    const longest = Math.min(this.cap, most, this.base * 2 ** Math.min(failures - 1, 30));
    return Math.max(floor, this.least) + uniform(random, 0, longest);
  }
}

class End {
  constructor(kind, reason, { lived = 0, retryAfter = 0 } = {}) {
    Object.assign(this, { kind, reason, lived, retryAfter });
  }

  static clean(lived) {
    if (lived < LIVED) return new End("short", `the stream ended after ${lived.toFixed(2)} s`, { lived });
    return new End("ended", "the stream ended", { lived });
  }

  get isError() {
    return this.kind !== "ended" && this.kind !== "replaced";
  }
}

class Reconnect {
  failures = 0;
  #random;
  #backoff;
  #retry = 0;

  constructor(random, backoff = new Backoff()) {
    this.#random = random;
    this.#backoff = backoff;
  }

  get least() {
    return this.#backoff.least;
  }

  advise(seconds) {
    this.#retry = Math.min(seconds, MAX_RETRY);
  }

  worked() {
    this.failures = 0;
  }

  after(end) {
    if (!end.isError) {
      this.worked();
      return uniform(this.#random, 0, CLEAN_WAIT);
    }
    this.failures = end.lived >= PROVEN ? 1 : this.failures + 1;
    return this.#backoff.delay(this.failures, this.#random, { floor: Math.max(this.#retry, end.retryAfter) });
  }
}

const HEARTBEATS_MISSED = 3;
const OVERDUE = 5;
const WORTH_REPLACING = 3;
const MARGIN = 1;
const AGE_TICK = 1;
const WAKE_INTERVAL = 10;

class Stream {
  #left;
  #joined;
  #leaveBy;
  #silence;
  #heard;

  constructor(number, headers, { now, heartbeat, lastEventId }) {
    this.number = number;
    this.opened = this.#heard = now;
    this.decoder = new Decoder({ lastEventId });
    const left = remainingLifetime(headers);
    this.#left = left ?? 0;
    this.#joined = remainingJoinWindow(headers) ?? 0;
    this.#leaveBy = left === null ? Infinity : now + left + OVERDUE;
    this.#silence = HEARTBEATS_MISSED * heartbeat;
  }

  get deadline() {
    return Math.min(this.#heard + this.#silence, this.#leaveBy);
  }

  hear(now) {
    this.#heard = now;
  }

  leaveBy(moment) {
    this.#leaveBy = Math.min(this.#leaveBy, moment);
  }

  replaceAt(random) {
    if (this.#left < WORTH_REPLACING) return Infinity;
    const latest = this.#left - AGE_TICK - Math.min(MARGIN, this.#left / 10);
    const joined = this.#joined + AGE_TICK;
    return this.opened + uniform(random, Math.max(LIVED, Math.min(joined, latest)), latest);
  }
}

function refusal(status, headers) {
  if (status !== 200) return new End("refused", `the server answered ${status}`, { retryAfter: retryAfter(headers) });
  if (isEventStream(headers)) return null;
  const type = headers.get("content-type") || "no content type";
  return new End("refused", `the server answered with ${type}, not an event stream`);
}

class Connection {
  #random;
  #heartbeat;
  #openTimeout;
  #reconnect;
  #number = 0;
  #live = null;
  #opening = null;
  #openAt = Infinity;
  #openedAt = -Infinity;
  #notBefore = -Infinity;
  #woken = -Infinity;
  #lastEventId = "";

  constructor({ random = Math.random, heartbeat = 15, openTimeout = 10, backoff } = {}) {
    this.#random = random;
    this.#heartbeat = heartbeat;
    this.#openTimeout = openTimeout;
    this.#reconnect = new Reconnect(random, backoff);
  }

  get live() {
    return this.#live !== null;
  }

  get failures() {
    return this.#reconnect.failures;
  }

  get deadline() {
    return Math.min(this.#live?.deadline ?? Infinity, this.#opening?.deadline ?? Infinity, this.#openAt);
  }

  get openAt() {
    return this.#openAt;
  }

  start(now) {
    return this.#open(now);
  }

  opened(stream, status, headers, now) {
    const opening = this.#opening;
    if (opening?.number !== stream) return [{ do: "close", stream }];
    this.#opening = null;
    const end = refusal(status, headers);
    if (end) return [{ do: "close", stream }, this.#failed(stream, end, now)];
    const before = this.#live;
    this.#live = new Stream(stream, headers, { now, heartbeat: this.#heartbeat, lastEventId: this.#id() });
    this.#openAt = this.#live.replaceAt(this.#random);
    const actions = [{ do: "live", stream, seconds: now - opening.since }];
    if (before) {
      this.#reconnect.worked();
      const end = new End("replaced", "the next stream is live", { lived: now - before.opened });
      actions.push({ do: "close", stream: before.number });
      actions.push({ do: "ended", stream: before.number, end, wait: null, failures: 0 });
    }
    return actions;
  }

  received(stream, bytes, now) {
    const live = this.#live;
    if (live?.number !== stream) return [];
    const actions = [];
    try {
      for (const item of live.decoder.feed(bytes)) {
        live.hear(now);
        if (item.kind === "retry") this.#reconnect.advise(item.milliseconds / 1000);
        actions.push({ do: "received", stream, item });
      }
    } catch (error) {
      if (!(error instanceof StreamLimitError)) throw error;
      const end = new End("limit", error.message, { lived: now - live.opened });
      actions.push({ do: "close", stream }, this.#over(live, end, now));
    }
    return actions;
  }

  ended(stream, now) {
    const live = this.#live;
    if (live?.number !== stream) return this.failed(stream, "the answer had no head", now);
    return [this.#over(live, End.clean(now - live.opened), now)];
  }

  failed(stream, reason, now) {
    if (this.#opening?.number === stream) {
      this.#opening = null;
      return [this.#failed(stream, new End("unreachable", reason), now)];
    }
    const live = this.#live;
    if (live?.number !== stream) return [];
    return [this.#over(live, new End("cut", reason, { lived: now - live.opened }), now)];
  }

  tick(now) {
    const actions = [];
    const opening = this.#opening;
    const live = this.#live;
    if (opening && now >= opening.deadline) {
      this.#opening = null;
      const end = new End("unanswered", "the server did not answer in time");
      actions.push({ do: "close", stream: opening.number }, this.#failed(opening.number, end, now));
    }
    if (live && now >= live.deadline) {
      const end = new End("silent", "the stream fell silent", { lived: now - live.opened });
      actions.push({ do: "close", stream: live.number }, this.#over(live, end, now));
    }
    if (now >= this.#openAt) actions.push(...this.#open(now));
    return actions;
  }

  woke(now) {
    if (now < this.#woken + WAKE_INTERVAL) return [];
    this.#woken = now;
    this.#reconnect.worked();
    this.#live?.leaveBy(now + WAKE_INTERVAL);
    if (this.#live || this.#openAt < Infinity) {
      const soon = Math.max(now + uniform(this.#random, 0, 1), this.#openedAt + this.#reconnect.least);
      this.#openAt = Math.min(this.#openAt, soon);
    }
    return [];
  }

  #open(now) {
    this.#openAt = Infinity;
    if (this.#opening) return [];
    this.#number += 1;
    this.#openedAt = now;
    this.#notBefore = now + this.#reconnect.least;
    this.#opening = { number: this.#number, since: now, deadline: now + this.#openTimeout };
    return [{ do: "open", stream: this.#number, lastEventId: this.#id() }];
  }

  #id() {
    return this.#live?.decoder.lastEventId ?? this.#lastEventId;
  }

  #failed(stream, end, now) {
    const wait = this.#reconnect.after(end);
    this.#notBefore = this.#openAt = now + wait;
    return { do: "ended", stream, end, wait, failures: this.failures };
  }

  #over(live, end, now) {
    this.#lastEventId = this.#id();
    this.#live = null;
    const at = Math.max(now + this.#reconnect.after(end), this.#notBefore);
    if (this.#opening) return { do: "ended", stream: live.number, end, wait: null, failures: this.failures };
    this.#notBefore = this.#openAt = at;
    return { do: "ended", stream: live.number, end, wait: at - now, failures: this.failures };
  }
}

const FAILURES = 3;
const HASTE = 10;

class Polling {
  on = false;
  #random;
  #interval;
  #next = -Infinity;
  #hastened = -Infinity;

  constructor(random, interval) {
    this.#random = random;
    this.#interval = interval;
  }

  get due() {
    return this.on ? this.#next : Infinity;
  }

  failed(failures, now) {
    if (failures < FAILURES || this.#interval === Infinity || this.on) return;
    this.on = true;
    if (this.#next <= now) this.#next = now + uniform(this.#random, 0, this.#interval);
  }

  start(now) {
    this.on = true;
    this.polled(now);
  }

  stop() {
    this.on = false;
  }

  polled(now) {
    this.#next = now + this.#interval * uniform(this.#random, 0.9, 1.1);
  }

  hasten(now) {
    if (!this.on || now < this.#hastened + HASTE) return;
    this.#hastened = now;
    this.#next = Math.min(this.#next, now + uniform(this.#random, 0, 1));
  }
}

const SETTLE = 0.05;
const GAP = 0.2;
const OLDER = [1, 2, 4];
const PATIENCE = 60;
const SHORT = 1;

class Refetch {
  wanted = 0;
  held = 0;
  failures = 0;
  loaded = false;
  #random;
  #spread;
  #backoff;
  #settled;
  #asked = null;
  #older = 0;
  #failingSince;
  #forbidden = -Infinity;

  constructor({ random = Math.random, spread = 0, backoff, now = 0, held = 0, loaded = false } = {}) {
    this.held = held;
    this.loaded = loaded;
    this.#random = random;
    this.#spread = spread;
    this.#backoff = backoff ?? new Backoff({ base: 0.5, least: 0 });
    this.due = this.#settled = this.#failingSince = now;
  }

  get isMet() {
    return this.loaded && this.held >= this.wanted;
  }

  get inFlight() {
    return this.#asked !== null;
  }

  connected(now) {
    this.#settled = Math.max(this.#settled, now + SETTLE);
    if (this.due === Infinity || !this.failures) return;
    this.due = Math.min(this.due, Math.max(this.#soon(now), this.#forbidden));
  }

  poll(now) {
    if (this.due === Infinity && !this.inFlight) this.due = now;
  }

  announce(version, now) {
    if (version <= Math.max(this.wanted, this.held)) return;
    this.wanted = version;
    this.#older = 0;
    if (!this.inFlight && !this.failures) this.due = Math.min(this.due, this.#soon(now));
  }

  begin(now) {
    this.due = Infinity;
    this.#settled = Math.max(this.#settled, now + GAP);
    this.#asked = this.wanted;
    return this.#asked;
  }

  finished({ version, labelled, stale }, now) {
    const asked = this.#asked ?? 0;
    this.#asked = null;
    const is = labelled ? version : Math.max(version || this.held, asked);
    const take = is >= this.held;
    this.loaded = true;
    this.held = Math.max(this.held, is);
    if (stale && !this.isMet) {
      this.#fail(now, 0);
      return take;
    }
    this.failures = 0;
    if (this.isMet) this.#older = 0;
    else if (this.wanted > asked) this.due = this.#soon(now);
    else this.due = now + this.#patience();
    return take;
  }

  failed(now, retryAfter = 0) {
    this.#asked = null;
    this.#fail(now, retryAfter);
  }

  #patience() {
    if (this.#older === OLDER.length) return PATIENCE * uniform(this.#random, 0.9, 1.1);
    const longest = OLDER[this.#older++];
    return uniform(this.#random, longest / 2, longest);
  }

  #fail(now, floor) {
    if (!this.failures) this.#failingSince = now;
    this.failures += 1;
    this.#forbidden = now + floor;
    const lasted = Math.max(SHORT, now - this.#failingSince);
    this.due = now + this.#backoff.delay(this.failures, this.#random, { floor, most: lasted });
  }

  #soon(now) {
    return Math.max(now, this.#settled) + uniform(this.#random, 0, this.#spread);
  }
}

const EVENT = "environment_updated";
const GRACE = 5;

function announcement(item) {
  return item.kind === "event" && item.type === EVENT ? eventVersion(item.data) : null;
}

class Subscription {
  status = "starting";
  invalid = 0;
  #polls;
  #polled = false;
  #grace;
  #inDoubtSince;
  #behindSince = null;

  constructor({ random = Math.random, heartbeat = 15, openTimeout = 10, spread = 0, pollInterval = 60, polls = false,
                backoff, now = 0, held = 0, loaded = false } = {}) {
    this.connection = new Connection({ random, heartbeat, openTimeout, backoff });
    this.refetch = new Refetch({ random, spread, backoff, now, held, loaded });
    this.polling = new Polling(random, pollInterval);
    this.#polls = polls;
    this.#grace = GRACE + spread;
    this.#inDoubtSince = now;
  }

  get isCurrent() {
    return this.connection.live && this.refetch.isMet;
  }

  get deadline() {
    return Math.min(this.connection.deadline, this.polling.due, this.refetch.due, this.#doubtfulAt());
  }

  start(now) {
    if (this.#polls) this.polling.start(now);
    return this.#then([], now);
  }

  follow(now) {
    return this.#then(this.connection.start(now), now);
  }

  opened(stream, status, headers, now) {
    return this.#then(this.connection.opened(stream, status, headers, now), now);
  }

  received(stream, bytes, now) {
    return this.#then(this.connection.received(stream, bytes, now), now);
  }

  ended(stream, now) {
    return this.#then(this.connection.ended(stream, now), now);
  }

  failed(stream, reason, now) {
    return this.#then(this.connection.failed(stream, reason, now), now);
  }

  fetched(answer, now) {
    this.#polled = this.polling.on;
    const behind = this.#behindSince === null ? 0 : now - this.#behindSince;
    const keep = this.refetch.finished(answer, now) ? [{ do: "keep", behind }] : [];
    return [...keep, ...this.#then([], now)];
  }

  fetchFailed(now, retryAfter = 0) {
    this.#polled = false;
    this.refetch.failed(now, retryAfter);
    return this.#then([], now);
  }

  woke(now) {
    this.polling.hasten(now);
    return this.#then(this.connection.woke(now), now);
  }

  tick(now) {
    if (now >= this.polling.due) {
      this.polling.polled(now);
      this.refetch.poll(now);
    }
    return this.#then(this.connection.tick(now), now);
  }

  #then(streamActions, now) {
    const actions = [];
    for (const action of streamActions) {
      if (action.do === "received") {
        this.#announced(action, now, actions);
        continue;
      }
      if (action.do === "live") {
        this.polling.stop();
        this.#polled = false;
        this.refetch.connected(now);
      } else if (action.do === "ended" && !this.connection.live) {
        this.polling.failed(action.failures, now);
      }
      actions.push(action);
    }
    if (now >= this.refetch.due) actions.push({ do: "fetch", version: this.refetch.begin(now) });
    this.#look(now, actions);
    return actions;
  }

  #announced({ stream, item }, now, actions) {
    try {
      const version = announcement(item);
      if (version === null) return;
      this.refetch.announce(version, now);
      actions.push({ do: "announced", stream, version });
    } catch {
      this.invalid += 1;
    }
  }

  #look(now, actions) {
    if (this.refetch.isMet) this.#behindSince = null;
    else this.#behindSince ??= now;
    if (this.isCurrent) this.#inDoubtSince = null;
    else if (this.#inDoubtSince === null || this.status === "starting") this.#inDoubtSince = now;
    const status = this.#statusAt(now);
    if (status === this.status) return;
    this.status = status;
    actions.push({ do: "became", status });
  }

  #statusAt(now) {
    if (!this.refetch.loaded) return "starting";
    if (this.#inDoubtSince === null) return "current";
    if (this.#polls || now >= this.#inDoubtSince + this.#grace) {
      return this.#polled && this.refetch.isMet ? "polling" : "stale";
    }
    return this.status === "starting" ? "current" : this.status;
  }

  #doubtfulAt() {
    if (this.#inDoubtSince === null || this.#polls || this.status !== "current") return Infinity;
    return this.#inDoubtSince + this.#grace;
  }
}

function openByFetch(url, lastEventId, listener, fetch) {
  const controller = new AbortController();
  let left = false;
  const headers = { Accept: "text/event-stream" };
  if (lastEventId) headers["Last-Event-ID"] = lastEventId;
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

function openByEventSource(url, lastEventId, listener, EventSource) {
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

function streamsBodies(fetch) {
  return Boolean(fetch && globalThis.ReadableStream && globalThis.AbortController && "body" in Response.prototype);
}

const BLIND = 4;

function opener(url, heartbeat, { fetch = globalThis.fetch, EventSource = globalThis.EventSource }) {
  if (streamsBodies(fetch) || !EventSource) {
    return { open: (id, listener) => openByFetch(url, id, listener, fetch), patience: heartbeat };
  }
  return { open: (id, listener) => openByEventSource(url, id, listener, EventSource), patience: BLIND * heartbeat };
}

class FlagClient extends Getters {
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

  get flags() {
    return this.#flags;
  }

  get version() {
    return this.#version;
  }

  get updatedAt() {
    return this.#version ? secondsOf(this.#version) : null;
  }

  get source() {
    return this.#source;
  }

  get status() {
    return this.#status;
  }

  get connected() {
    return this.#connected;
  }

  get leading() {
    return this.#member?.leading ?? false;
  }

  ready(timeout = 10) {
    if (this.#source === "server" || this.#status === "offline") return Promise.resolve(this);
    const waiting = this.#wait(timeout);
    waiting.catch(() => {});
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

  on(name, callback) {
    return this.#emitter.on(name, callback);
  }

  identify(identity, traits = null) {
    let scope;
    try {
      if (this.#closed) throw new ConfigurationError("the client is closed");
      scope = checkIdentity(identity, traits);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#leave();
    this.#enter(scope);
    return this.ready();
  }

  wake() {
    this.#member?.wake();
  }

  close() {
    if (this.#closed) return;
    this.#leave();
    this.#closed = true;
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
    this.#version = 0;
    if (this.#source === "server") this.#source = "cache";
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
    if (this.#source !== "server") this.#become("starting");
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
      if (outcome === "older" && this.#source !== "server") this.#share(this.#held);
      return;
    }
    this.#fail(error);
    this.#member?.tell({ kind: "fault", fault: { ...error, message: error.message } });
  }

  #fail(error) {
    const before = this.#lastError;
    this.#lastError = error;
    if (before?.name !== error.name) this.#emitter.emit("error", error);
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
    if (first || !news) return;
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

const REPLAY = 0.3;

class FlagStream {
  version = 0;
  state = "connecting";
  #retryAt = 0;
  #emitter = new Emitter();
  #options;
  #member;
  #driver = null;
  #connection = null;
  #since = 0;
  #first = true;

  constructor({ environmentKey, streamUrl, heartbeat = 15, shared = true, pauseAfter = 300, relieveAfter, random,
                backoff, fetch, EventSource } = {}) {
    checkSeconds({ pauseAfter, ...(relieveAfter !== undefined && { relieveAfter }) });
    checkSeconds({ heartbeat }, { above: true });
    const url = streamAddress(checkUrl(streamUrl, "streamUrl"), checkKey(environmentKey));
    this.#options = { url, heartbeat, random, backoff, fetch, EventSource };
    const part = {
      run: () => this.#run(),
      halt: (paused) => this.#halt(paused),
      woke: () => this.#woke(),
      silence: () => this.#driver.silence,
      state: () => ({ kind: "state", state: this.state, retryIn: this.retryIn, version: this.version }),
      hear: (message) => this.#hear(message),
    };
    this.#member = new Member(`flagstream/1 ${url}`, part, { shared, pauseAfter, relieveAfter });
    this.#member.start();
  }

  get leading() {
    return this.#member.leading;
  }

  get retryIn() {
    const left = this.state === "waiting" ? this.#retryAt - monotonic() : 0;
    return Number.isFinite(left) ? Math.max(0, left) : 0;
  }

  on(name, callback) {
    return this.#emitter.on(name, callback);
  }

  wake() {
    this.#member.wake();
  }

  close() {
    if (this.state === "closed") return;
    this.#member.close();
    this.#become("closed");
  }

  #run() {
    const { url, heartbeat, random, backoff, fetch, EventSource } = this.#options;
    const { open, patience } = opener(url, heartbeat, { fetch, EventSource });
    this.#connection = new Connection({ heartbeat: patience, random, backoff });
    const driver = (this.#driver = new Driver(this.#connection, { open, tell: (action) => this.#took(action) }));
    this.#become("connecting");
    driver.start("start");
  }

  #halt(paused) {
    this.#driver?.stop();
    this.#driver = null;
    if (paused) this.#become("paused");
  }

  #woke() {
    this.#driver.woke();
    if (this.state === "waiting") this.#wait();
  }

  #wait() {
    this.#retryAt = this.#connection.openAt;
    this.#become("waiting");
  }

  #took(action) {
    const { live } = this.#connection;
    if (action.do === "open" && !live) this.#become("connecting");
    else if (action.do === "live") {
      this.#since = monotonic();
      this.#first = true;
      this.#emitter.emit("stream", { opened: true, seconds: action.seconds });
      this.#become("live");
    } else if (action.do === "ended") {
      this.#emitter.emit("stream", { opened: false, end: action.end, wait: action.wait });
      if (live) return;
      if (action.end.isError) this.#wait();
      else this.#become("connecting");
    } else if (action.do === "received") this.#received(action.item);
  }

  #received(item) {
    let version;
    try {
      version = announcement(item);
    } catch {
      return;
    }
    if (version === null) return;
    const replay = this.#first || monotonic() - this.#since < REPLAY;
    this.#first = false;
    this.#announce(version, replay);
  }

  #announce(version, replay) {
    if (!(Number.isSafeInteger(version) && version > this.version)) return;
    this.version = version;
    this.#member.tell({ kind: "version", version, replay });
    this.#emitter.emit("version", { version, updatedAt: secondsOf(version), replay });
  }

  #hear(message) {
    if (message.kind === "version") this.#announce(message.version, message.replay);
    if (message.kind !== "state") return;
    this.#announce(message.version, true);
    this.#retryAt = monotonic() + message.retryIn;
    this.#become(message.state);
  }

  #become(state) {
    if (this.state === "closed" || (state === this.state && state !== "waiting")) return;
    this.state = state;
    this.#member.tell({ kind: "state", state, retryIn: this.retryIn, version: this.version });
    this.#emitter.emit("state", state);
    if (state === "closed") this.#emitter.clear();
  }
}

export { FlagClient };
export { FlagStream };
export { ConfigurationError, DocumentError, KeyRefusedError, NotReadyError };
export { Backoff };
