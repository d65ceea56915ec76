// Version arithmetic against a table that the publisher's own code writes: [version, wire number] pairs, on stdin.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { decimalSeconds, digits, eventVersion, secondsOf, versionOf } from "../../../sdk_client/js/src/versions.js";

const pairs = JSON.parse(readFileSync(process.env.VERSIONS, "utf8"));

test("what the publisher writes is read back exactly, and written the same", () => {
  assert.ok(pairs.length > 10_000);
  for (const [version, number] of pairs) {
    assert.equal(eventVersion(`{"updated_at": ${number}}`), version, number);
    assert.equal(secondsOf(version), Number(number), number);
  }
});

test("headers are exact", () => {
  for (const [version] of pairs) {
    const text = `${Math.floor(version / 1e6)}.${String(version % 1e6).padStart(6, "0")}`;
    assert.equal(decimalSeconds(text), version, text);
    assert.equal(digits(String(version)), version);
  }
});

test("what is no version is none", () => {
  const wrong = ["", "1", "null", "[]", "{}", "x", '{"updated_at": null}', '{"updated_at": "1.5"}', '{"updated_at": true}',
                 '{"updated_at": 0}', '{"updated_at": -1}', '{"updated_at": 1e300}', '{"updated_at": 9007199254740992}'];
  for (const data of wrong) assert.throws(() => eventVersion(data), undefined, data);
  for (const seconds of [NaN, Infinity, -Infinity, 0, -1]) assert.throws(() => versionOf(seconds), RangeError);
  for (const text of ["", "-1", "1.", ".5", "1e3", "x", "1.0000000001", "99999999999", "9007199255"]) assert.equal(decimalSeconds(text), 0, text);
  for (const text of ["", "-1", "1.5", "x", "9007199254740992", "12345678901234567"]) assert.equal(digits(text), 0, text);
});
