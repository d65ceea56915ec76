// Makes the one file that pages load, flagstream.js, of the modules in src/: in the order of their imports, without
// comments. `node build.mjs` writes it, `node build.mjs --check` exits with 1 where it is not up to date.

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = join(HERE, "flagstream.js");
const IMPORT = /^import \{[^}]*\} from "\.\/(.*)";\n/gm;
const FROM = /^export (\{[^}]*\}) from "\.\/(.*)";\n/gm;
const COMMENT = /^ *(\/\/.*|\/\*\*[^]*?\*\/)\n|(?<=[;,{}]) +\/\/ .*$/gm;

const parts = [];
const seen = new Set();

function add(name) {
  if (seen.has(name)) return;
  seen.add(name);
  const source = readFileSync(join(HERE, "src", name), "utf8");
  for (const [, needed] of source.matchAll(IMPORT)) add(needed);
  for (const [, , needed] of source.matchAll(FROM)) add(needed);
  parts.push(source.replace(IMPORT, "").replace(FROM, "export $1;\n").replace(/^export (?!\{)/gm, "").replace(COMMENT, "").trim());
}

add("index.js");
const { version, license } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));
const head = `// Flagstream ${version}, ${license}. Made of src/ by build.mjs; src/ has the comments, flagstream.d.ts the types.`;
const made = `${head}\n\n${parts.join("\n\n")}\n`;

if (process.argv.includes("--check")) {
  process.exitCode = readFileSync(TARGET, "utf8") === made ? 0 : 1;
} else {
  writeFileSync(TARGET, made);
}
