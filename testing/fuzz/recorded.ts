/** What record.ts recorded, by name. */
import { readFileSync } from "node:fs";
import path from "node:path";

const file = path.join(import.meta.dirname, "recorded.json");
const all = JSON.parse(readFileSync(file, "utf8")) as Record<string, string[]>;

export function recorded(name: string): Uint8Array[] {
  const found = all[name];
  if (found === undefined) throw new Error(`nothing is recorded as "${name}"`);
  return found.map((text) => new Uint8Array(Buffer.from(text, "base64")));
}
