// Reads a JSON list of SDL texts; prints, for each, what the network's own library makes of it.
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { generateManifest, generateManifestVersion, manifestToSortedJSON } from "@akashnetwork/chain-sdk";
import { load } from "js-yaml";

globalThis.crypto ??= webcrypto; // not there by itself in Node 18

const plain = (_key, value) => (value instanceof Uint8Array ? new TextDecoder().decode(value) : value);
const found = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const made = generateManifest(load(text));
  if (!made.ok) {
    found.push({ errors: made.value.map((error) => error.message) });
    continue;
  }
  const version = await generateManifestVersion(made.value.groups);
  found.push({
    manifest: manifestToSortedJSON(made.value.groups),
    version: Buffer.from(version).toString("base64"),
    groups: JSON.parse(JSON.stringify(made.value.groupSpecs, plain)),
  });
}
process.stdout.write(JSON.stringify(found));
