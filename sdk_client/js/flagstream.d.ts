/** Flags that follow their server within milliseconds. All times are in seconds. */

/** One feature's state: on or off, and a value that is a string, number, boolean, JSON or null. */
export interface Flag {
  readonly name: string;
  readonly enabled: boolean;
  readonly value: any;
}

/** One feature went from `old` to `new` at `version`; null stands for a feature that is not there. */
export interface Change {
  readonly feature: string;
  readonly old: Flag | null;
  readonly new: Flag | null;
  readonly enabled: boolean;
  readonly oldEnabled: boolean;
  readonly value: any;
  readonly oldValue: any;
  readonly version: number;
}

/** The flags are at `version` now; `staleness` is the time from its announcement to having it. */
export interface Update {
  readonly changes: readonly Change[];
  readonly version: number;
  readonly staleness: number;
}

export type Source = "none" | "bootstrap" | "cache" | "server";

/** How fresh the flags are. "paused": nobody looks; the others are as in Python. */
export type Status = "starting" | "current" | "polling" | "stale" | "paused" | "offline" | "closed";

export type EndKind =
  | "replaced"
  | "ended"
  | "short"
  | "refused"
  | "unreachable"
  | "unanswered"
  | "cut"
  | "silent"
  | "limit";

/** How a stream ended, `lived` seconds after its headers came. */
export interface End {
  readonly kind: EndKind;
  readonly reason: string;
  readonly lived: number;
  readonly retryAfter: number;
  readonly isError: boolean;
}

/** A stream went live, `seconds` after it was asked for, or it ended: the next one is opened in `wait`, null if it is. */
export type StreamNews =
  | { readonly opened: true; readonly seconds: number }
  | { readonly opened: false; readonly end: End; readonly wait: number | null };

/** A fetch of the flags is over. */
export interface FetchNews {
  readonly outcome: "new" | "unchanged" | "older" | "failed";
  readonly seconds: number;
  readonly version: number;
  readonly reason: string;
}

/** What a client tells of; "stream" and "fetch" only in the tab that leads. "error" once for each kind, not once an attempt. */
export interface ClientEvents {
  change: Change;
  update: Update;
  status: Status;
  stream: StreamNews;
  fetch: FetchNews;
  error: DocumentError;
}

export type Trait = string | number | boolean | null;
export type Traits = Readonly<Record<string, Trait>>;

/** true and false are a state, with no value; text and numbers are a value, and the feature is on; or both. */
export type BootstrapState = boolean | string | number | null | { readonly enabled?: boolean; readonly value?: any };

/** {name: state}, or the list that `GET /api/v1/flags/` answers. */
export type Bootstrap = Readonly<Record<string, BootstrapState>> | readonly object[];

export interface FlagClientOptions {
  /** The environment's client key; server keys (`ser.…`) are refused. */
  environmentKey: string;
  /** Where flags are fetched, with or without `/api/v1/`. */
  apiUrl: string;
  /** Where streams are, if elsewhere. */
  streamUrl?: string;
  /** Whose flags; left out or null for the environment's own. */
  identity?: string | null;
  traits?: Traits | null;
  /** Flags for the time before the server's are there. */
  bootstrap?: Bootstrap;
  /** Where the last known good flags are kept (an identity's with its traits); localStorage by default, null for nowhere. */
  storage?: Pick<Storage, "getItem" | "setItem"> | null;
  onChange?: (change: Change) => void;
  /** The longest random wait before a change is fetched; 0 by default. Many clients behind one CDN want some. */
  spread?: number;
  /** Between polls where no stream can be had; 60 by default, 0 or Infinity for none. */
  pollInterval?: number;
  /** The server's heartbeat; 15 by default. */
  heartbeat?: number;
  /** For one fetch; 5 by default. */
  requestTimeout?: number;
  /** Hidden for this long, the client rests; 300 by default, Infinity for never. */
  pauseAfter?: number;
  /** While another tab is seen, a hidden one leads for this long at most; 5 to 10 at random by default. */
  relieveAfter?: number;
  /** false for polling only. */
  streaming?: boolean;
  /** true for asking nobody. */
  offline?: boolean;
  /** false for a stream of each tab's own. */
  shared?: boolean;
  backoff?: Backoff;
  random?: () => number;
  fetch?: typeof fetch;
  EventSource?: typeof EventSource;
}

/**
 * The flags of one environment, or of one identity, in memory and followed live. Reading them never throws: defaults stand
 * in for what is not there or of another type.
 */
export class FlagClient {
  /** Throws ConfigurationError for options that cannot work. */
  constructor(options: FlagClientOptions);
  /** All flags by name, as they are now; a later change makes another Map. */
  get flags(): ReadonlyMap<string, Flag>;
  /** Whether the feature is on. */
  isEnabled(name: string, otherwise?: boolean): boolean;
  /** The feature's value of any type, on or off. */
  value(name: string, otherwise?: any): any;
  /** The value (not the state) as a boolean: true, false, or the text "true" or "false". */
  boolean(name: string, otherwise: boolean): boolean;
  string(name: string, otherwise: string): string;
  /** The value as an integer: 3, or the text "3" or "3.0". */
  integer(name: string, otherwise: number): number;
  /** The value as a finite number: 2.5, or the text "2.5". */
  number(name: string, otherwise: number): number;
  /** What the value's text says as JSON; a value that is no text is returned as it is. */
  json<T = any>(name: string, otherwise?: T): T;
  /** The value if it is one of `choices`, so only what the code knows. */
  variant<T extends Trait>(name: string, choices: Iterable<T>, otherwise: T): T;
  /** Version of the flags in microseconds since the epoch; 0 while unknown, also between two identities. */
  get version(): number;
  /** The version in Unix seconds; null while unknown. */
  get updatedAt(): number | null;
  get source(): Source;
  get status(): Status;
  /** Whether a stream is live now, in this tab or in the one that leads. */
  get connected(): boolean;
  /** Whether this tab has the stream; others are told by one that has. */
  get leading(): boolean;
  /**
   * Wait until the server's flags are here, 10 seconds at most by default. Rejects with NotReadyError or KeyRefusedError;
   * the client goes on trying either way.
   */
  ready(timeout?: number): Promise<this>;
  /** Call `callback` whenever it happens; the function returned ends that. */
  on<K extends keyof ClientEvents>(name: K, callback: (what: ClientEvents[K]) => void): () => void;
  /**
   * Take the flags of one identity from now on, null for the environment's own; resolves once they are here. Rejects as
   * `ready` does, and with ConfigurationError for an identity or traits that cannot be; the client then stays as it was.
   */
  identify(identity: string | null, traits?: Traits | null): Promise<this>;
  /** Look for news now, wherever a wait stands; once in 10 seconds. */
  wake(): void;
  /** End everything; flags stay readable as they are. */
  close(): void;
}

export interface FlagStreamOptions
  extends Pick<
    FlagClientOptions,
    "environmentKey" | "heartbeat" | "pauseAfter" | "relieveAfter" | "shared" | "backoff" | "random" | "fetch" | "EventSource"
  > {
  streamUrl: string;
}

/** "waiting": no stream can be had, the next try is in `retryIn` seconds. */
export type StreamState = "connecting" | "live" | "waiting" | "paused" | "closed";

/** A version newer than any before; `replay`: it was announced before this stream was opened. */
export interface Announcement {
  readonly version: number;
  readonly updatedAt: number;
  readonly replay: boolean;
}

export interface StreamEvents {
  version: Announcement;
  state: StreamState;
  stream: StreamNews;
}

/** The versions of one environment as they are announced, for pages that fetch by themselves. */
export class FlagStream {
  /** Throws ConfigurationError for options that cannot work. */
  constructor(options: FlagStreamOptions);
  /** The newest version announced, in microseconds since the epoch; 0 while unknown. */
  readonly version: number;
  readonly state: StreamState;
  /** Until the next stream is opened, while the state is "waiting". */
  get retryIn(): number;
  get leading(): boolean;
  on<K extends keyof StreamEvents>(name: K, callback: (what: StreamEvents[K]) => void): () => void;
  /** Open the next stream now, wherever a wait stands; once in 10 seconds. */
  wake(): void;
  close(): void;
}

/** Exponential back-off with full jitter: `base` and `cap` bound the random part, `least` is added. */
export class Backoff {
  constructor(options?: { base?: number; cap?: number; least?: number });
  readonly base: number;
  readonly cap: number;
  readonly least: number;
}

/** An option that cannot work; nothing was started. */
export class ConfigurationError extends Error {}

/** The flags could not be fetched this time; the client tries again by itself. `status` is 0 where no answer came. */
export class DocumentError extends Error {
  readonly status: number;
  readonly retryAfter: number;
}

/** The server answered 401 or 403: the environment key is wrong, or not known (yet). */
export class KeyRefusedError extends DocumentError {}

/** No flags came in time; `last` is the newest failure. */
export class NotReadyError extends Error {
  readonly last: DocumentError | null;
}
