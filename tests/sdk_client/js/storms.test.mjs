// An hour of a server that misbehaves, on a clock of its own, then a good one: no storm, nothing missed, back by itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Subscription } from "../../../sdk_client/js/src/subscription.js";
import { secondsOf } from "../../../sdk_client/js/src/versions.js";

const HOUR = 3600;
const V1 = 1_735_229_888_760_123;
const encoder = new TextEncoder();
const STREAM = new Headers({ "Content-Type": "text/event-stream", "X-Stream-Lifetime": "30", "X-Stream-Join-Window": "20" });

/** Park and Miller's generator: the same hour in every run. */
function chance(seed) {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

class World {
  now = 0;
  version = V1;
  openings = [];
  fetches = [];
  flights = 0;
  #queue = [];
  #live = new Set();

  constructor(seed, fault, documentFault) {
    this.random = chance(seed);
    this.fault = fault;
    this.documentFault = documentFault;
    this.machine = new Subscription({ random: this.random });
  }

  get good() {
    return this.now >= HOUR;
  }

  at(moment, act) {
    let place = this.#queue.length;
    while (place > 0 && this.#queue[place - 1].moment > moment) place -= 1;
    this.#queue.splice(place, 0, { moment, act });
  }

  after(seconds, act) {
    this.at(this.now + seconds, act);
  }

  run(until) {
    if (this.now === 0) {
      this.take(this.machine.start(0));
      this.take(this.machine.follow(0));
    }
    for (let turns = 0; turns < 200_000; turns++) {
      const next = this.#queue[0]?.moment ?? Infinity;
      const { deadline } = this.machine;
      if (Math.min(next, deadline) > until) return void (this.now = until);
      if (next <= deadline) {
        this.now = Math.max(this.now, next);
        this.#queue.shift().act();
      } else {
        this.now = Math.max(this.now, deadline);
        this.take(this.machine.tick(this.now));
      }
    }
    assert.fail("it turns in circles");
  }

  take(actions) {
    for (const action of actions) {
      if (action.do === "open") this.#open(action.stream);
      else if (action.do === "close") this.#live.delete(action.stream);
      else if (action.do === "fetch") this.#fetch(action.version);
    }
  }

  change() {
    this.version += 1 + Math.floor(this.random() * 5e6);
    const announced = this.version;
    for (const stream of this.#live) this.after(0.01, () => this.#say(stream, announced));
  }

  #open(stream) {
    this.openings.push(this.now);
    this.after(0.01, () => (this.good ? this.#serve(stream) : this.fault(this, stream)));
  }

  #serve(stream) {
    this.#live.add(stream);
    this.take(this.machine.opened(stream, 200, STREAM, this.now));
    this.#say(stream, this.version);
    for (let beat = 15; beat < 30; beat += 15) this.after(beat, () => this.bytes(stream, ": ping\n\n"));
    this.after(30, () => this.#live.delete(stream) && this.take(this.machine.ended(stream, this.now)));
  }

  #say(stream, version) {
    this.bytes(stream, `event: environment_updated\ndata: {"updated_at": ${secondsOf(version)}}\n\n`);
  }

  head(stream, status, type = "text/event-stream") {
    this.take(this.machine.opened(stream, status, new Headers({ "Content-Type": type }), this.now));
  }

  bytes(stream, text) {
    this.take(this.machine.received(stream, encoder.encode(text), this.now));
  }

  #fetch(asked) {
    this.fetches.push(this.now);
    this.flights += 1;
    assert.equal(this.flights, 1, "one fetch at a time");
    const finish = (actions) => this.take((this.flights -= 1, actions()));
    this.after(0.02, () => {
      const fault = this.good ? "good" : this.documentFault(this);
      if (fault === "fails") return finish(() => this.machine.fetchFailed(this.now));
      const older = fault === "older" || fault === "stale";
      const version = older ? Math.max(V1, asked - 1) : this.version;
      return finish(() => this.machine.fetched({ version, labelled: true, stale: fault === "stale" }, this.now));
    });
  }
}

const ended = (world, stream) => world.take(world.machine.ended(stream, world.now));
const failed = (world, stream) => world.take(world.machine.failed(stream, "cut", world.now));

const FAULTS = {
  "is not there": failed,
  "answers 500": (world, stream) => world.head(stream, 500),
  "answers 404": (world, stream) => world.head(stream, 404),
  "answers 204": (world, stream) => world.head(stream, 204),
  "answers a page": (world, stream) => world.head(stream, 200, "text/html"),
  "never answers": () => {},
  "ends at once": (world, stream) => (world.head(stream, 200), ended(world, stream)),
  "asks for no wait": (world, stream) => (world.head(stream, 200), world.bytes(stream, "retry: 0\n\n"), ended(world, stream)),
  "cuts after two seconds": (world, stream) => (world.head(stream, 200), world.after(2, () => failed(world, stream))),
  "sends garbage without end": (world, stream) => (world.head(stream, 200), world.bytes(stream, "\xff".repeat(20_000))),
  "sends a line without end": (world, stream) => (world.head(stream, 200), world.bytes(stream, "x".repeat(70_000))),
  "drips": (world, stream) => {
    world.head(stream, 200);
    for (let beat = 0; beat < 600; beat += 10) world.after(beat, () => world.bytes(stream, "x"));
  },
  "is mute": (world, stream) => world.head(stream, 200),
};

for (const [name, fault] of Object.entries(FAULTS)) {
  test(`a server that ${name} is asked seldom, and not missed when it is back`, () => {
    const world = new World(7, fault, () => "good");
    world.run(HOUR);
    const gaps = world.openings.slice(1).map((at, i) => at - world.openings[i]);
    assert.ok(Math.min(...gaps) >= 1, "two openings are at least a second apart");
    assert.ok(world.openings.length >= 60 && world.openings.length <= 260, `${world.openings.length} openings in an hour`);
    assert.ok(world.fetches.length <= 70, `${world.fetches.length} fetches in an hour`);
    world.change();
    world.run(HOUR + 62);
    assert.equal(world.machine.refetch.held, world.version);
    assert.equal(world.machine.status, "current");
  });
}

test("whatever happens in whatever order, it converges and stays below a request a second", () => {
  const kinds = Object.values(FAULTS);
  const documents = ["good", "fails", "older", "stale"];
  for (let seed = 1; seed <= 60; seed++) {
    const pick = (world, list) => list[Math.floor(world.random() * list.length)];
    const fault = (world, stream) => pick(world, kinds)(world, stream);
    const world = new World(seed, fault, (each) => pick(each, documents));
    for (let i = 0; i < 60; i++) world.at(world.random() * HOUR, () => world.change());
    for (let i = 0; i < 20; i++) world.at(world.random() * HOUR, () => world.take(world.machine.woke(world.now)));
    world.run(HOUR);
    assert.ok(world.openings.length <= 400, `${world.openings.length} openings with seed ${seed}`);
    world.run(HOUR + 120);
    assert.equal(world.machine.refetch.held, world.version, `seed ${seed}`);
    assert.equal(world.machine.status, "current", `seed ${seed}`);
    world.change();
    world.run(HOUR + 120.2);
    assert.equal(world.machine.refetch.held, world.version, `an announcement on a live stream, seed ${seed}`);
  }
});
