// Fetching the flags: GET /api/v1/flags/, or the flags of one identity.

import { DocumentError, KeyRefusedError } from "./errors.js";
import { flag } from "./flags.js";
import { retryAfter } from "./headers.js";
import { checkEtag } from "./storage.js";
import { later } from "./timers.js";
import { decimalSeconds, digits } from "./versions.js";

const MAX_BODY = 16 * 1024 * 1024; // bytes: a body without end would fill the memory

/**
 * Flags by name from the list of a document, or from {name: state}: true and false are a state, with no value; other
 * text and numbers are a value, and the feature is on; an object has `enabled`, `value` or both. Throws DocumentError.
 */
export function readFlags(content) {
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

/** What JSON does not know could not be compared with the server's; and what the page changes later is not ours. */
function copied(name, value) {
  try {
    return JSON.parse(JSON.stringify(value) ?? "null");
  } catch {
    throw new DocumentError(`${name} has a value that JSON does not know`);
  }
}

/** Fetches one environment's flags, or one identity's with its `traits` as entries. `timeout` bounds a whole fetch, in seconds. */
export class Loader {
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

  /**
   * The flags at `version` or newer, where the server can (0: whatever it has): {flags, version, labelled, stale, etag};
   * `flags` is null where those with `etag` are still right. Throws DocumentError.
   */
  async load(version, etag, signal) {
    const headers = { Accept: "application/json", "X-Environment-Key": this.#key };
    const post = this.#body !== undefined;
    if (post) headers["Content-Type"] = "application/json";
    // The key's header makes every fetch from another origin ask first (CORS), so this one more costs nothing.
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
      // The validator is ours and kept over reloads, so the browser's cache would only hold everything twice.
      const options = { ...request, cache: "no-store", credentials: "omit", signal: controller.signal };
      const response = await this.#fetch(url, options);
      return { response, text: await textOf(response) };
    } catch (error) {
      if (error instanceof DocumentError) throw error;
      if (controller.signal.aborted) throw new DocumentError(`no answer within ${this.#timeout} s`);
      throw new DocumentError(`cannot reach the flags API: ${error.message}`);
    } finally {
      clearTimeout(timer);
      abort(); // leaves what was not read, and takes the listener away
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
  const items = Array.isArray(content) ? content : content?.flags; // an identity's are wrapped
  if (!Array.isArray(items)) throw new DocumentError("the flags document is not a list; is apiUrl a flags API?");
  return readFlags(items);
}
