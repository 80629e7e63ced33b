import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { findViolations, type Package, type Workspace } from "./boundaries.ts";

interface Manifest {
  readonly name: string;
  readonly workspaces?: readonly string[];
  readonly exports?: Record<string, { "@sotto/source": string }>;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

const root = path.join(import.meta.dirname, "..");

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(path.join(root, folder, "package.json"), "utf8")) as Manifest;
}

function readPackage(folder: string): Package {
  const manifest = readManifest(folder);
  const { name, exports = {}, dependencies, devDependencies, optionalDependencies, peerDependencies } = manifest;
  return {
    name,
    folder,
    dependencies: new Set(Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })),
    devDependencies: new Set(Object.keys(devDependencies ?? {})),
    entries: new Map(
      Object.entries(exports).map(([subpath, { "@sotto/source": source }]) => [
        subpath,
        path.posix.join(folder, source),
      ]),
    ),
  };
}

function readWorkspace(): Workspace {
  const manifest = readManifest(".");
  const folders = manifest.workspaces ?? [];
  const files = globSync(
    folders.map((folder) => (folder.startsWith("packages/") ? `${folder}/src/**/*.{ts,tsx}` : `${folder}/**/*.ts`)),
    { cwd: root, exclude: (name) => name === "node_modules" || name === "dist" },
  );
  return {
    sources: new Map(files.map((file) => [file.replaceAll("\\", "/"), readFileSync(path.join(root, file), "utf8")])),
    packages: folders.map(readPackage),
    rootDependencies: new Set(Object.keys(manifest.devDependencies ?? {})),
  };
}

test("every import follows the arrows, and the packages without I/O stay without", () => {
  const workspace = readWorkspace();
  assert.ok(workspace.sources.size > 20, "the sources were found");
  assert.deepEqual(findViolations(workspace), []);
});

/** A small workspace that keeps the rules; each case below adds or replaces files of it. */
const sound: Record<string, string> = {
  "packages/protocol/src/index.ts": `export { encode } from "cborg"; export const date = (ms: number) => new Date(ms);`,
  "packages/e2ee/src/index.ts": `import { encode } from "@sotto/protocol"; export const seal = (now: () => number) => encode(now());`,
  "packages/e2ee/src/index.test.ts": `import "node:test"; import "fast-check"; import "only-for-tests"; setTimeout(() => Date.now(), 1);`,
  "packages/client/src/index.ts": `export { seal } from "@sotto/e2ee"; import type { X } from "./node.ts"; export type Y = X;`,
  "packages/client/src/node.ts": `import { WebSocket } from "ws"; import "./index.ts"; export type X = WebSocket;`,
  "packages/server/src/index.ts": `import "@sotto/protocol"; export const pg = () => import("./store/postgres/store.ts");`,
  "packages/server/src/store/postgres/store.ts": `import "pg";`,
  "packages/cli/src/main.ts": `import "@sotto/client/node"; import "./commands/serve.ts";`,
  "packages/cli/src/commands/serve.ts": `import "@sotto/server";`,
  "testing/world.ts": `import "@sotto/server"; import "@sotto/client"; import "fast-check";`,
};

function workspaceOf(sources: Record<string, string>): Workspace {
  const declare = (name: string, dependencies: string[], entries: Record<string, string> = { ".": "src/index.ts" }) => {
    const folder = name === "@sotto/testing" ? "testing" : name.replace("@sotto/", "packages/");
    return {
      name,
      folder,
      dependencies: new Set(dependencies),
      devDependencies: new Set(["only-for-tests"]),
      entries: new Map(Object.entries(entries).map(([subpath, source]) => [subpath, `${folder}/${source}`])),
    };
  };
  return {
    sources: new Map(Object.entries(sources)),
    packages: [
      declare("@sotto/protocol", ["cborg"]),
      declare("@sotto/e2ee", ["@sotto/protocol"]),
      declare("@sotto/client", ["@sotto/protocol", "@sotto/e2ee", "ws"], {
        ".": "src/index.ts",
        "./node": "src/node.ts",
      }),
      declare("@sotto/server", ["@sotto/protocol", "@sotto/e2ee", "pg"]),
      declare("@sotto/cli", ["@sotto/client", "@sotto/server", "@sotto/e2ee"], {}),
      declare("@sotto/testing", ["@sotto/server", "@sotto/client"], {}),
    ],
    rootDependencies: new Set(["fast-check"]),
  };
}

test("a workspace that keeps the rules has no violations", () => {
  assert.deepEqual(findViolations(workspaceOf(sound)), []);
});

const planted: { breach: string; file: string; text: string; seen: RegExp }[] = [
  {
    breach: "the server imports e2ee",
    file: "packages/server/src/a.ts",
    text: `import "@sotto/e2ee";`,
    seen: /may import/,
  },
  {
    breach: "a type of e2ee in the server",
    file: "packages/server/src/a.ts",
    text: `import type { A } from "@sotto/e2ee";`,
    seen: /may import/,
  },
  {
    breach: "a server's test imports e2ee",
    file: "packages/server/src/a.test.ts",
    text: `import "@sotto/e2ee";`,
    seen: /may import/,
  },
  {
    breach: "an import type expression",
    file: "packages/server/src/a.ts",
    text: `export type A = import("@sotto/e2ee").B;`,
    seen: /may import/,
  },
  {
    breach: "protocol imports upwards",
    file: "packages/protocol/src/a.ts",
    text: `export * from "@sotto/e2ee";`,
    seen: /nothing of ours/,
  },
  {
    breach: "the client imports the server",
    file: "packages/client/src/a.ts",
    text: `await import("@sotto/server");`,
    seen: /may import/,
  },
  { breach: "the cli imports e2ee", file: "packages/cli/src/a.ts", text: `import "@sotto/e2ee";`, seen: /may import/ },
  {
    breach: "another command uses the server",
    file: "packages/cli/src/commands/send.ts",
    text: `import "@sotto/server";`,
    seen: /server's machine/,
  },
  {
    breach: "a relative import leaves its package",
    file: "packages/e2ee/src/a.ts",
    text: `import "../../server/src/index.ts";`,
    seen: /leaves its package/,
  },
  {
    breach: "an import past the exports",
    file: "packages/e2ee/src/a.ts",
    text: `import "@sotto/protocol/src/index.ts";`,
    seen: /no such entry/,
  },
  {
    breach: "an undeclared dependency",
    file: "packages/protocol/src/a.ts",
    text: `import { v } from "valibot";`,
    seen: /not declared/,
  },
  {
    breach: "a root tool outside tests",
    file: "packages/server/src/a.ts",
    text: `import "fast-check";`,
    seen: /not declared/,
  },
  {
    breach: "source imports a test",
    file: "packages/e2ee/src/a.ts",
    text: `import "./index.test.ts";`,
    seen: /not for use/,
  },
  { breach: "pg outside its adapter", file: "packages/server/src/a.ts", text: `import "pg";`, seen: /adapter only/ },
  {
    breach: "SQLite outside its adapter",
    file: "packages/server/src/a.ts",
    text: `import "node:sqlite";`,
    seen: /adapter only/,
  },
  { breach: "Node in a pure package", file: "packages/e2ee/src/a.ts", text: `import "node:crypto";`, seen: /no I\/O/ },
  {
    breach: "a clock",
    file: "packages/protocol/src/a.ts",
    text: `export const a = () => Date.now();`,
    seen: /uses Date.now/,
  },
  {
    breach: "a clock by another door",
    file: "packages/protocol/src/a.ts",
    text: `export const a = () => new globalThis.Date();`,
    seen: /uses new Date/,
  },
  {
    breach: "a clock by its key",
    file: "packages/protocol/src/a.ts",
    text: `export const a = Date["now"];`,
    seen: /uses Date.now/,
  },
  {
    breach: "chance",
    file: "packages/e2ee/src/a.ts",
    text: `export const a = [1].map(Math.random);`,
    seen: /uses Math.random/,
  },
  {
    breach: "chance from WebCrypto",
    file: "packages/e2ee/src/a.ts",
    text: `globalThis.crypto.getRandomValues(new Uint8Array(1));`,
    seen: /getRandomValues/,
  },
  { breach: "a timer", file: "packages/e2ee/src/a.ts", text: `setTimeout(() => {}, 1);`, seen: /uses setTimeout/ },
  {
    breach: "a timer of globalThis",
    file: "packages/e2ee/src/a.ts",
    text: `globalThis.setTimeout(() => {}, 1);`,
    seen: /setTimeout/,
  },
  {
    breach: "the process",
    file: "packages/e2ee/src/a.ts",
    text: `export const a = { process };`,
    seen: /uses process/,
  },
  { breach: "the network", file: "packages/e2ee/src/a.ts", text: `void fetch("/");`, seen: /uses fetch/ },
  { breach: "a cycle of two", file: "packages/protocol/src/index.ts", text: `import "./index.ts";`, seen: /cycle/ },
  {
    breach: "a cycle through a dynamic import",
    file: "packages/server/src/store/postgres/store.ts",
    text: `import "../../index.ts";`,
    seen: /cycle/,
  },
  {
    breach: "Node where browsers load it",
    file: "packages/client/src/index.ts",
    text: `export * from "./node.ts";`,
    seen: /browsers load it/,
  },
  { breach: "a file of no package", file: "packages/new/src/a.ts", text: ``, seen: /belongs to no package/ },
];

for (const { breach, file, text, seen } of planted) {
  test(`it is noticed: ${breach}`, () => {
    const violations = findViolations(workspaceOf({ ...sound, [file]: text }));
    assert.ok(
      violations.some((line) => line.includes(file) && seen.test(line)),
      violations.join("\n"),
    );
  });
}

const innocent: Record<string, string> = {
  "a member called process": `export const a = (o: { process(): void }) => o.process();`,
  "a property called fetch": `export const a = { fetch: 1 };`,
  "a type that mentions a clock": `export interface Clock { now(): number; setTimeout: string }`,
  "the words in a comment or a text": `// Date.now()\nexport const a = "Math.random() import 'node:fs'";`,
  "a time that was handed in": `export const a = (ms: number) => new Date(ms).toISOString();`,
};

for (const [what, text] of Object.entries(innocent)) {
  test(`it is no violation: ${what}`, () => {
    assert.deepEqual(findViolations(workspaceOf({ ...sound, "packages/e2ee/src/a.ts": text })), []);
  });
}
