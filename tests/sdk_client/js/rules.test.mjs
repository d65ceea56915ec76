// The rules of docs/client-rules.md as tables, played to the JavaScript machine; rules/README.md says how to read them.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Subscription } from "../../../sdk_client/js/src/subscription.js";
import { secondsOf } from "../../../sdk_client/js/src/versions.js";

const FOLDER = new URL("../rules/", import.meta.url);
const V1 = 1_735_229_888_760_123;
const VERSIONS = { V1, V2: V1 + 7, V3: V1 + 7 + 1_000_000 };
const NAMES = new Map(Object.entries(VERSIONS).map(([name, version]) => [version, name]));
const SETTINGS = { spread: "spread", heartbeat: "heartbeat", poll_interval: "pollInterval", polls: "polls" };

const rounded = (seconds) => (seconds === null || seconds === Infinity ? null : Math.round(seconds * 1e6) / 1e6);

function event(version) {
  return `event: environment_updated\ndata: {"updated_at": ${secondsOf(version)}}\n\n`;
}

function body(text) {
  const named = text.replaceAll(/<(V\d)>/g, (_, name) => event(VERSIONS[name])).replaceAll("<LONG>", "x".repeat(70_000));
  return new TextEncoder().encode(named);
}

function shown(action) {
  switch (action.do) {
    case "open":
    case "close":
    case "live":
      return [action.do, action.stream];
    case "ended":
      return ["ended", action.stream, action.end.kind, rounded(action.wait)];
    case "fetch":
      return ["fetch", NAMES.get(action.version) ?? action.version];
    case "keep":
      return ["keep"];
    case "became":
      return ["status", action.status];
  }
  return assert.fail(`no such action: ${action.do}`);
}

function tell(machine, input, { stream, ...rest }, now) {
  switch (input) {
    case "opened":
      return machine.opened(stream, rest.status, new Headers(rest.headers), now);
    case "received":
      return machine.received(stream, body(rest.body), now);
    case "ended":
      return machine.ended(stream, now);
    case "failed":
      return machine.failed(stream, rest.reason, now);
    case "fetched": {
      const { version, labelled = true, stale = false } = rest;
      return machine.fetched({ version: VERSIONS[version] ?? version, labelled, stale }, now);
    }
    case "fetch_failed":
      return machine.fetchFailed(now, rest.retry_after);
  }
  return machine[input](now);
}

function play(played, table, machine, check = true) {
  if (played.after) play(table.get(played.after), table, machine, false);
  for (const [at, input, given, expected] of played.steps) {
    if (input === "deadline") {
      if (check) assert.equal(rounded(machine.deadline), rounded(given), `deadline at ${at}`);
      continue;
    }
    // What an event announced is told besides, to the tabs that follow.
    const answer = tell(machine, input, given, at).filter((action) => action.do !== "announced");
    if (check) assert.deepEqual(answer.map(shown), expected, `${input} at ${at}`);
  }
}

const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
assert.ok(files.length >= 2, "there are tables");

for (const file of files) {
  const cases = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
  const table = new Map(cases.map((each) => [each.name, each]));
  for (const played of cases) {
    test(`${file}: ${played.name}`, () => {
      const settings = Object.entries(played.settings ?? {}).map(([name, value]) => {
        assert.ok(SETTINGS[name], `a setting that is not known here: ${name}`);
        return [SETTINGS[name], value];
      });
      const random = () => played.random ?? 0.5;
      play(played, table, new Subscription({ random, ...Object.fromEntries(settings) }));
    });
  }
}
