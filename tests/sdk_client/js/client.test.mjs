// The whole client over a server that is a function, for what a browser would need many pages to show.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FlagClient } from "../../../sdk_client/js/flagstream.js";
import { Refetch } from "../../../sdk_client/js/src/refetch.js";

const V1 = 1_735_229_888_760_123;
const KEY = "flagstream/1 http://flags.example.com key";

const flagsOf = (value) => [{ feature: { id: 1, name: "banner" }, enabled: true, feature_state_value: value }];

function labelled(value, version = V1) {
  return Response.json(flagsOf(value), { headers: { "X-Flagstream-Version": String(version) } });
}

/** A client of a server with streams that say nothing; `answer(url, request)` is what is fetched. */
function client(answer, { kept, ...options } = {}) {
  const asked = [];
  async function fetch(url, request) {
    if (!url.includes("/sse/")) {
      new Headers(request.headers); // refuses what a browser would
      asked.push(request);
      const aborted = new Promise((_, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)));
      return Promise.race([answer(url, request), aborted]);
    }
    return new Response(new ReadableStream(), { headers: { "Content-Type": "text/event-stream" } });
  }
  const storage = { getItem: (place) => (place === KEY && kept) || null, setItem() {} };
  const flags = new FlagClient({ environmentKey: "key", apiUrl: "http://flags.example.com", storage, fetch, shared: false, ...options });
  return { flags, asked };
}

function kept(fields) {
  return JSON.stringify({ who: "", format: 1, version: V1, etag: "", flags: [["banner", true, "kept"]], ...fields });
}

const GARBAGE = {
  "no JSON": "x",
  "null": "null",
  "another format": kept({ format: 2 }),
  "no flags": kept({ flags: [null] }),
  "a version that is none": kept({ version: -1 }),
  "an entity tag that no header takes": kept({ etag: '"\n\ud83d\ude00"' }),
};

for (const [name, text] of Object.entries(GARBAGE)) {
  test(`what is kept may be ${name}`, async (t) => {
    const { flags } = client(() => labelled("a"), { kept: text });
    t.after(() => flags.close());
    await flags.ready(5);
    assert.equal(flags.value("banner"), "a");
  });
}

test("a document older than what was kept is not taken, and the client is ready all the same", async (t) => {
  const { flags } = client(() => labelled("older", V1 - 1), { kept: kept({}) });
  t.after(() => flags.close());
  await flags.ready(5);
  assert.deepEqual([flags.value("banner"), flags.version, flags.status], ["kept", V1, "current"]);
});

test("an unlabelled document is believed, whatever was held", () => {
  const refetch = new Refetch({ held: V1, loaded: true });
  refetch.begin(0);
  assert.equal(refetch.finished({ version: 0, labelled: false, stale: false }, 0), true);
  assert.equal(refetch.held, V1);
});

test("a body without end is left at 16 MiB", async (t) => {
  let left;
  const piece = new Uint8Array(1 << 20).fill(32);
  const leaving = new Promise((resolve) => (left = resolve));
  const endless = () => new ReadableStream({ pull: (body) => body.enqueue(piece), cancel: left });
  const answer = (_, { signal }) => {
    const body = endless().pipeThrough(new TransformStream(), { signal });
    return new Response(body);
  };
  const { flags } = client(answer);
  t.after(() => flags.close());
  const failed = new Promise((resolve) => flags.on("fetch", resolve));
  assert.match((await failed).reason, /larger than 16777216 bytes/);
  await leaving;
});

test("times may be without end", async (t) => {
  const { flags } = client(() => new Promise((resolve) => setTimeout(() => resolve(labelled("a")), 50)), {
    requestTimeout: Infinity, pollInterval: Infinity, pauseAfter: Infinity, relieveAfter: Infinity,
  });
  t.after(() => flags.close());
  await flags.ready(Infinity);
  assert.equal(flags.value("banner"), "a");
});

test("whoever is told may close, and then nothing more is told or asked", async () => {
  for (const name of ["fetch", "stream", "update", "change", "status"]) {
    const { flags, asked } = client(() => labelled("a"), { bootstrap: { banner: "b" } });
    const told = [];
    await new Promise((resolve) => flags.on(name, () => (flags.close(), resolve())));
    flags.on("status", (status) => told.push(status));
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual([flags.status, flags.connected, told, asked.length], ["closed", false, [], 1], name);
    if (flags.source !== "server") await assert.rejects(flags.ready(5), { name: "NotReadyError" });
    await assert.rejects(flags.identify("ada"), /the client is closed/);
  }
});

test("what is closed leaves the fetch that it waits for", async () => {
  const { flags, asked } = client(() => new Promise(() => {}));
  flags.close();
  assert.equal(asked[0].signal.aborted, true);
});

test("an identity that cannot be leaves the client as it was, and the answer for another one is not taken", async (t) => {
  const answers = [];
  const { flags } = client((url) => new Promise((resolve) => answers.push({ url, resolve })));
  t.after(() => flags.close());
  await assert.rejects(flags.identify(""), { name: "ConfigurationError" });
  assert.equal(answers.length, 1);
  const bob = flags.identify("bob");
  answers[1].resolve(Response.json({ flags: flagsOf("bob's") }, { headers: { "X-Flagstream-Version": String(V1) } }));
  answers[0].resolve(labelled("everybody's", V1 + 1));
  await bob;
  assert.deepEqual([flags.value("banner"), flags.version], ["bob's", V1]);
});
