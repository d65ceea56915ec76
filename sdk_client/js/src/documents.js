// Fetching the flags: GET /api/v1/flags/, or the flags of one identity.

import { DocumentError, KeyRefusedError } from "./errors.js";
import { flag } from "./flags.js";
import { retryAfter } from "./headers.js";
import { decimalSeconds, digits } from "./versions.js";

/**
 * Flags by name from the list of a document, or from {name: state}: true and false are a state, with no value; other
 * text and numbers are a value, and the feature is on; an object has `enabled`, `value` or both.
 */
export function readFlags(content) {
  const found = Array.isArray(content) ? content.map(item) : Object.entries(content ?? {}).map(state);
  return new Map(found.map((each) => [each.name, each]));
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
  return flag(name, content.enabled ?? true, content.value);
}

/** Fetches one environment's flags, or one identity's. `timeout` bounds a whole fetch, in seconds. */
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
      const entries = Object.entries(traits).map(([name, value]) => ({ trait_key: name, trait_value: value }));
      this.#body = JSON.stringify({ identifier: identity, traits: entries });
    }
  }

  /**
   * The flags at `version` or newer, where the server can (0: whatever it has): {flags, version, labelled, stale, etag};
   * `flags` is null where those with `etag` are still right. Throws DocumentError.
   */
  async load(version, etag) {
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
    });
    const unchanged = response.status === 304 && Boolean(etag);
    if (!unchanged) refuse(response);
    const label = digits(response.headers.get("x-flagstream-version") ?? "");
    return {
      flags: unchanged ? null : read(text),
      version: label || decimalSeconds(response.headers.get("x-flagsmith-document-updated-at") ?? ""),
      labelled: label > 0,
      stale: response.headers.get("x-flagstream-stale") === "1",
      etag: unchanged ? etag : (response.headers.get("etag") ?? ""),
    };
  }

  async #ask(url, request) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), this.#timeout * 1000);
    try {
      // The validator is ours and kept over reloads, so the browser's cache would only hold everything twice.
      const options = { ...request, cache: "no-store", credentials: "omit", signal: controller.signal };
      const response = await this.#fetch(url, options);
      return { response, text: await response.text() };
    } catch (error) {
      if (controller.signal.aborted) throw new DocumentError(`no answer within ${this.#timeout} s`);
      throw new DocumentError(`cannot reach the flags API: ${error.message}`);
    } finally {
      clearTimeout(timer);
    }
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
