// The decoder against the tables that Python's is held to: the standard, the web platform tests, the contract tests.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Decoder, StreamLimitError } from "../../../sdk_client/js/src/decoder.js";

const FOLDER = new URL("../tables/", import.meta.url);
const encoder = new TextEncoder();

function pieces(given) {
  if (given.base64) return [given.base64].flat().map((text) => new Uint8Array(Buffer.from(text, "base64")));
  return (given.chunks ?? [given.body]).map((text) => encoder.encode(text));
}

function shown(item) {
  if (item.kind === "retry") return { retry: item.milliseconds };
  if (item.kind === "comment") return { comment: item.text };
  return { event: item.type, data: item.data, id: item.id };
}

/** Items, and what limit was broken if one was. */
function outcome(decoder, parts) {
  const items = [];
  try {
    for (const part of parts) for (const item of decoder.feed(part)) items.push(shown(item));
  } catch (error) {
    assert.ok(error instanceof StreamLimitError, String(error));
    return { items, limit: error.what };
  }
  return { items, limit: "" };
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".json"))) {
  const { cases } = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
  for (const given of cases) {
    test(`${file}: ${given.name}`, () => {
      const ways = [pieces(given), [joined(pieces(given))], [...joined(pieces(given))].map((byte) => Uint8Array.of(byte))];
      for (const parts of ways.filter((way) => way.length < 70_000)) {
        const decoder = new Decoder({ lastEventId: given.start_id ?? "" });
        assert.deepEqual(outcome(decoder, parts), { items: given.expect, limit: "" });
        if (given.last_event_id !== undefined) assert.equal(decoder.lastEventId, given.last_event_id);
      }
    });
  }
}

/** Park and Miller's generator: the same bodies in every run. */
function chance(seed) {
  let state = seed;
  return (below) => (state = (state * 48_271) % 2_147_483_647) % below;
}

test("any split of any body gives the same items and the same error", () => {
  const draw = chance(20_261_121);
  const lines = ["data: a", "data:bb", "data", "event: e", "id: 1", "id", "retry: 5", ": c", "", "", "x".repeat(23),
                 `data: ${"y".repeat(18)}`, `data: ${"€".repeat(5)}`, "\ufeffdata: m", `data: ${"z".repeat(30)}`];
  for (let round = 0; round < 2000; round++) {
    let text = "";
    for (let i = draw(30); i > 0; i--) text += lines[draw(lines.length)] + ["\n", "\r", "\r\n"][draw(3)];
    const body = encoder.encode(text);
    if (body.length && draw(4) === 0) body[draw(body.length)] = draw(256);
    const cuts = Array.from({ length: draw(12) }, () => draw(body.length + 1)).sort((a, b) => a - b);
    const places = [0, ...cuts, body.length];
    const parts = places.slice(1).map((end, i) => body.subarray(places[i], end));
    const limits = { maxLine: 24, maxEvent: 40 };
    assert.deepEqual(outcome(new Decoder(limits), parts), outcome(new Decoder(limits), [body]), JSON.stringify(text));
  }
});

test("a line or an event without end is an error that says so", () => {
  const limit = (text) => outcome(new Decoder(), [encoder.encode(text)]).limit;
  assert.equal(limit("x".repeat(65_537)), "a line");
  assert.equal(limit(`: ${"x".repeat(70_000)}\n`), "a line");
  assert.equal(limit(`data: ${"x".repeat(60_000)}\n`.repeat(5)), "an event");
  assert.equal(limit("data: abc\n\n".repeat(100_000)), "");
});

test("an event is there as soon as its blank line is, even if that ends in a carriage return", () => {
  const decoder = new Decoder();
  const data = (text) => outcome(decoder, [encoder.encode(text)]).items.map((item) => item.data);
  assert.deepEqual(data("data: a\r\n\r"), ["a"]);
  assert.deepEqual(data(""), []);
  assert.deepEqual(data("\ndata: b\r"), []);
  assert.deepEqual(data("\r"), ["b"]);
});
