// What the module offers.

export { FlagClient } from "./client.js";
export { FlagStream } from "./stream.js";
export { ConfigurationError, DocumentError, KeyRefusedError, NotReadyError } from "./errors.js";
export { Backoff } from "./reconnect.js";
