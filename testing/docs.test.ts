import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { failures } from "@sotto/protocol";
import { generatedDocuments, regenerate, root } from "./generated-docs.ts";

const documents = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"].concat(
  globSync("docs/**/*.md", { cwd: root }).toSorted(),
);
const textOf = (file: string) => readFileSync(path.join(root, file), "utf8");

/** Without what stands in code: a link there is an example. */
const prose = (text: string) => text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");

/** The anchors that GitHub gives to a document's headings. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Map<string, number>();
  const found = new Set<string>();
  for (const [, heading = ""] of text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#{1,6} (.+)$/gm)) {
    const anchor = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-");
    const times = anchors.get(anchor) ?? 0;
    anchors.set(anchor, times + 1);
    found.add(times === 0 ? anchor : `${anchor}-${times}`);
  }
  return found;
}

test("what is generated in the documents is what the code says (npm run docs writes it anew)", () => {
  const files = generatedDocuments();
  assert.ok(files.length >= 2, "no generated regions were found");
  for (const file of files) assert.equal(regenerate(textOf(file)), textOf(file), `${file} is not current`);
});

test("a region that has been changed by hand, or that nothing makes, is noticed", () => {
  const [file = ""] = generatedDocuments();
  const changed = textOf(file).replace(/(<!-- generated: .+? -->\n)/, "$1changed by hand\n");
  assert.notEqual(regenerate(changed), changed);
  assert.throws(() => regenerate("<!-- generated: nonsense -->\n<!-- end -->"));
});

test("every link in the documents leads somewhere", () => {
  const broken: string[] = [];
  for (const file of documents) {
    for (const [, target = ""] of prose(textOf(file)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?|mailto):/.test(target)) continue;
      const [linked = "", anchor] = target.split("#");
      const at = linked === "" ? file : path.join(path.dirname(file), linked);
      if (!existsSync(path.join(root, at))) broken.push(`${file}: ${target}`);
      else if (anchor !== undefined && !anchorsOf(textOf(at)).has(anchor)) broken.push(`${file}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

/** `testing/docs.test.ts`, `packages/e2ee/src/group*.ts`, `docs/operating/`: with a folder of the root in front. */
const pathPattern = /^(?:packages|testing|docs|bench|\.ci)\/[\w.*{},/-]*$/;

test("every file that the documents name exists", () => {
  const missing: string[] = [];
  for (const file of documents) {
    for (const [, quoted = ""] of textOf(file).matchAll(/`([^`\n]+)`/g)) {
      if (!pathPattern.test(quoted)) continue;
      if (globSync(quoted, { cwd: root }).length === 0) missing.push(`${file}: ${quoted}`);
    }
  }
  assert.deepEqual(missing, []);
});

test("what the sources say of the documents is there", () => {
  const missing = new Set<string>();
  for (const file of globSync(["packages/*/src/**/*.ts", "testing/**/*.ts"], { cwd: root })) {
    for (const [mention, at = "", anchor] of textOf(file).matchAll(/\b(docs\/[\w/-]+\.md)(?:#([\w-]+))?/g)) {
      const isThere = existsSync(path.join(root, at)) && (anchor === undefined || anchorsOf(textOf(at)).has(anchor));
      if (!isThere) missing.add(`${file}: ${mention}`);
    }
  }
  assert.deepEqual([...missing], []);
});

/** What a pattern's first group finds in a source. */
function namesIn(file: string, pattern: RegExp): Set<string> {
  return new Set([...textOf(file).matchAll(pattern)].map(([, name = ""]) => name));
}

test("the README names every command of this version, and no other", () => {
  const sources = ["packages/cli/src/program.ts", "packages/cli/src/message-verbs.ts"];
  const verbs = new Set(sources.flatMap((file) => [...namesIn(file, /\bverb\(\s*"([a-z-]+)/g)]));
  // `devices remove` and the like stand with their parent.
  const ofParents = /\bverb\(\s*"([a-z-]+)[^"]*",\s*"[^"]*",\s*\[[^\]]*\],\s*\w+,?\s*\)/g;
  for (const name of namesIn("packages/cli/src/program.ts", ofParents)) verbs.delete(name);
  const block = /## Commands\n\n```text\n([\s\S]*?)```/.exec(textOf("README.md"))?.[1] ?? "";
  // `sotto status NAME | verify NAME …`: several commands in a line; what they do stands behind two spaces.
  const named = block.split("\n").flatMap((line) => {
    const commands = line
      .replace(/ {2,}(?! *-).*$/, "")
      .replace(/^sotto /, "")
      .split(" | ");
    return commands.map((command) => /^[a-z-]+/.exec(command)?.[0]).filter((name) => name !== undefined);
  });
  assert.deepEqual(named.toSorted(), [...verbs].toSorted());
});

test("every metric is explained", () => {
  const names = [
    ...namesIn("packages/server/src/metrics.ts", /\badd\(\s*"(\w+)"/g),
    ...namesIn("packages/server/src/server.ts", /\bgauge\(\s*"(\w+)"/g),
  ];
  assert.ok(names.length > 8, "the sources are not as this test reads them");
  const page = textOf("docs/operating/monitor.md");
  assert.deepEqual(
    names.filter((name) => !page.includes(`sotto_${name}`)),
    [],
  );
});

test("every code that is explained exists; all of a server that does not start, of security stops and events are explained", () => {
  const server = namesIn("packages/server/src/server-error.ts", /^ {2}\| "([a-z-]+)"/gm);
  const client = namesIn("packages/client/src/errors.ts", /^ {2}"?([a-z-]+)"?: \{/gm);
  const explained = namesIn("docs/operating/troubleshoot.md", /`([a-z]+(?:-[a-z]+)+)`/g);
  const sources = globSync("packages/client/src/*.ts", { cwd: root }).toSorted();
  const security = sources.flatMap((file) => [...namesIn(file, /type: "security",\s+code: "([a-z-]+)"/g)]);
  const stops = namesIn("packages/client/src/errors.ts", /^ {2}"([a-z-]+)": \{\s+kind: "security"/gm);
  const known = new Set<string>([...server, ...client, ...security, ...Object.keys(failures)]);
  assert.deepEqual(
    [...explained].filter((code) => !known.has(code)),
    [],
  );
  assert.deepEqual(
    [...server, ...stops, ...security].filter((code) => code !== "internal" && !explained.has(code)),
    [],
  );
});
