// What users of the types may write; compiled by `tsc --noEmit`, never run.

import {
  Backoff,
  FlagClient,
  FlagStream,
  KeyRefusedError,
  NotReadyError,
  type Change,
  type Status,
} from "../../../sdk_client/js/flagstream.js";

const client = new FlagClient({
  environmentKey: "key",
  apiUrl: "https://flags.example.com",
  identity: "ada",
  traits: { plan: "free", age: 36 },
  bootstrap: { banner: true, limit: 10, theme: { enabled: false, value: "dark" } },
  storage: null,
  backoff: new Backoff({ cap: 60 }),
  onChange: (change: Change) => console.log(change.feature, change.oldValue, change.value),
});

const stop: () => void = client.on("status", (status: Status) => console.log(status));
client.on("stream", (news) => console.log(news.opened ? news.seconds : news.end.kind));
client.on("error", (error) => console.log(error instanceof KeyRefusedError, error.status));
client.on("update", ({ changes, staleness }) => console.log(changes.length, staleness));

const on: boolean = client.isEnabled("banner");
const limit: number = client.integer("limit", 5);
const theme: "light" | "dark" = client.variant<"light" | "dark">("theme", ["light", "dark"], "light");
const rules = client.json<{ max: number }>("rules", { max: 1 });
const names: string[] = [...client.flags.keys()];
console.log(on, limit, theme, rules.max, names, client.updatedAt ?? 0);

try {
  await client.ready(5);
  await client.identify("bob", { plan: "paid" });
} catch (error) {
  if (error instanceof NotReadyError) console.log(error.last?.status);
}

const stream = new FlagStream({ environmentKey: "key", streamUrl: "https://stream.example.com" });
stream.on("version", ({ updatedAt, replay }) => console.log(updatedAt, replay));

// @ts-expect-error - the names of events are known
client.on("chnage", () => {});
// @ts-expect-error - flags are not changed by hand
client.flags.set("banner", null);
// @ts-expect-error - a getter's default is of the getter's type
client.string("banner", 5);
// @ts-expect-error - without a key there is nothing to follow
new FlagClient({ apiUrl: "https://flags.example.com" });

stop();
stream.close();
client.close();
