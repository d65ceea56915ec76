// Decoder of event streams, without I/O: HTML standard, section 9.2.6 "Interpreting an event stream". Bytes go in as
// they come, in pieces of any size; items come out, the same ones however the bytes were cut.

const LF = 10;
const CR = 13;
const COLON = 58;
const SPACE = 32;
const MAX_RETRY_DIGITS = 12;
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** A line or an event of a stream is beyond `limit` bytes; the stream is closed and opened again. */
export class StreamLimitError extends Error {
  constructor(what, limit) {
    super(`${what} of the stream is longer than ${limit} bytes`);
    this.name = "StreamLimitError";
    this.what = what;
    this.limit = limit;
  }
}

/**
 * Turns the bytes of one stream into items: {kind: "event", type, data, id}, {kind: "comment", text} and
 * {kind: "retry", milliseconds}. `lastEventId` is what a client sends when it opens the stream again.
 */
export class Decoder {
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

  /** Limits are in bytes; `lastEventId` is that of the stream before, which it outlives. */
  constructor({ maxLine = 65_536, maxEvent = 262_144, lastEventId = "" } = {}) {
    this.lastEventId = this.#id = lastEventId;
    this.#maxLine = maxLine;
    this.#maxEvent = maxEvent;
  }

  /** Yield the items that `bytes` completes; throws StreamLimitError after those before the line in question. */
  *feed(bytes) {
    let start = 0;
    if (this.#skipLf && bytes.length) {
      this.#skipLf = false; // the second half of a CRLF whose CR ended the piece before
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
