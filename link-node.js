/**
 * Part of `npm ci` (its `prepare` script), run by whatever Node the machine has: makes node_modules/.bin/node lead to the
 * Node 26 that came with the dependencies, so that npm scripts run on it. npm 11 has made that link by now. npm 10, which
 * comes with Node 20, makes none, because five packages, one for each platform, want the same name.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const modules = fileURLToPath(new URL("node_modules", import.meta.url));
const bin = path.join(modules, ".bin");
const link = path.join(bin, "node");

const brought = readdirSync(modules).find(
  (name) => name.startsWith("node-") && existsSync(path.join(modules, name, "bin/node")),
);
if (brought !== undefined && !existsSync(link)) {
  mkdirSync(bin, { recursive: true });
  // A link that leads nowhere does not "exist".
  rmSync(link, { force: true });
  symlinkSync(path.join("..", brought, "bin/node"), link);
}
