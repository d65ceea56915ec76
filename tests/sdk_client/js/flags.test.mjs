// Reading flags, and options that cannot work.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FlagClient, FlagStream } from "../../../sdk_client/js/flagstream.js";

function offline(bootstrap) {
  return new FlagClient({ environmentKey: "key", apiUrl: "http://flags.example.com/api/v1/", offline: true, bootstrap });
}

test("getters know types, and answer the default instead of throwing", async () => {
  const flags = offline({
    text: "true", number: "2.5", integer: 3, json: '{"a": [1]}', on: true, off: { enabled: false, value: "x" }, value: { value: 7 },
  });
  assert.equal(await flags.ready(), flags);
  assert.equal(flags.status, "offline");
  assert.equal(flags.boolean("text", false), true);
  assert.equal(flags.number("number", 0), 2.5);
  assert.equal(flags.integer("integer", 0), 3);
  assert.deepEqual(flags.json("json"), { a: [1] });
  assert.deepEqual([flags.isEnabled("on"), flags.isEnabled("off"), flags.isEnabled("value"), flags.isEnabled("no", true)], [true, false, true, true]);
  assert.deepEqual([flags.value("on", 1), flags.value("value"), flags.value("no", 1)], [null, 7, 1]);
  assert.equal(flags.variant("off", ["x", "y"], "y"), "x");

  assert.equal(flags.string("integer", "other"), "other");
  assert.equal(flags.boolean("number", true), true);
  assert.equal(flags.number("json", 7), 7);
  assert.equal(flags.integer("number", 8), 8);
  assert.equal(flags.json("off", 9), 9);
  assert.equal(flags.json("no", 10), 10);
  assert.equal(flags.variant("off", ["y"], "y"), "y");
  assert.deepEqual([...flags.flags.keys()].length, 7);
});

test("flags and what is told of them cannot be changed by whoever reads them", () => {
  assert.throws(() => {
    offline({ a: 1 }).flags.get("a").value = 2;
  }, TypeError);
});

test("a list as the API answers it can be brought along", () => {
  const flags = offline([{ feature: { id: 1, name: "banner" }, enabled: true, feature_state_value: "a" }]);
  assert.deepEqual([flags.isEnabled("banner"), flags.value("banner"), flags.source], [true, "a", "bootstrap"]);
});

test("a feature may have the name of anything", () => {
  const flags = offline(JSON.parse('{"__proto__": "a", "constructor": false}'));
  assert.deepEqual([flags.value("__proto__"), flags.isEnabled("constructor"), flags.value("toString", 1)], ["a", false, 1]);
});

test("options that cannot work are named", () => {
  const good = { environmentKey: "key", apiUrl: "http://flags.example.com", offline: true };
  const faults = [
    [{ environmentKey: "ser.secret" }, /environmentKey is a server key/],
    [{ environmentKey: "a b" }, /environmentKey must be/],
    [{ environmentKey: undefined }, /environmentKey must be/],
    [{ apiUrl: undefined }, /apiUrl is not a URL/],
    [{ apiUrl: "" }, /apiUrl is not a URL/],
    [{ apiUrl: "ftp://flags.example.com" }, /apiUrl must begin with http/],
    [{ apiUrl: "https://me:secret@flags.example.com" }, /apiUrl must have no password/],
    [{ streamUrl: "http://flags.example.com/?a=1" }, /streamUrl must have neither/],
    [{ spread: -1 }, /spread must be 0 seconds or more/],
    [{ heartbeat: "15" }, /heartbeat must be/],
    [{ heartbeat: 0 }, /heartbeat must be above 0/],
    [{ pollInterval: NaN }, /pollInterval must be/],
    [{ pollInterval: 0, streaming: false }, /pollInterval must be above 0/],
    [{ relieveAfter: NaN }, /relieveAfter must be/],
    [{ identity: "" }, /identity must be text/],
    [{ identity: "\ud800" }, /identity must be text/],
    [{ identity: "ada", traits: ["plan"] }, /traits must be an object/],
    [{ identity: "ada", traits: { age: 36n } }, /the trait age must be/],
    [{ bootstrap: "banner" }, /bootstrap must be an object/],
    [{ bootstrap: [{ name: "banner" }] }, /bootstrap cannot be read.* no flag/],
    [{ bootstrap: { banner: { enabled: "yes" } } }, /banner has an enabled/],
    [{ bootstrap: { banner: { value: 1n } } }, /banner has a value that JSON does not know/],
  ];
  for (const [wrong, message] of faults) {
    assert.throws(() => new FlagClient({ ...good, ...wrong }), { name: "ConfigurationError", message });
  }
  assert.throws(() => new FlagStream({ environmentKey: "key" }), { name: "ConfigurationError", message: /streamUrl/ });
});
