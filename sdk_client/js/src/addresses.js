// Where things are: URLs and keys, checked before anything is started.

import { ConfigurationError } from "./errors.js";

export function checkKey(key) {
  if (String(key).startsWith("ser.")) {
    throw new ConfigurationError("environmentKey is a server key, which a browser would show to everybody");
  }
  if (typeof key !== "string" || !/^[A-Za-z0-9_-]{1,128}$/.test(key)) {
    throw new ConfigurationError("environmentKey must be 1 to 128 letters, digits, '-' or '_'");
  }
  return key;
}

/** A base URL without its slash at the end, and without /api/v1, which Flagsmith's SDKs want there. */
export function checkUrl(url, option) {
  let parsed;
  try {
    parsed = new URL(url || "//", globalThis.location?.href); // else nothing at all would be the page's own address
  } catch {
    throw new ConfigurationError(`${option} is not a URL`);
  }
  if (!/^https?:$/.test(parsed.protocol)) throw new ConfigurationError(`${option} must begin with http:// or https://`);
  if (parsed.username || parsed.password) throw new ConfigurationError(`${option} must have no password: fetch refuses it`);
  if (parsed.search || parsed.hash) throw new ConfigurationError(`${option} must have neither a query nor a fragment`);
  return parsed.href.replace(/\/+$/, "").replace(/\/api\/v1$/, "");
}

export function checkSeconds(seconds, { above = false } = {}) {
  for (const [option, value] of Object.entries(seconds)) {
    if (typeof value === "number" && (above ? value > 0 : value >= 0)) continue;
    throw new ConfigurationError(`${option} must be ${above ? "above 0 seconds" : "0 seconds or more"}`);
  }
}

/** The stream of one environment: always the same URL, for a query would be another key in every cache on the way. */
export function streamAddress(streamUrl, environmentKey) {
  return `${streamUrl}/sse/environments/${environmentKey}/stream`;
}
