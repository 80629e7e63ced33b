/**
 * The parts of the documents that are made from code: every region between `<!-- generated: NAME -->` and `<!-- end -->` in
 * docs/. The text around them is written by hand. `npm run docs` writes the regions anew; docs.test.ts fails when one is not
 * what the code says. Tables are padded as oxfmt pads them, so that the two never disagree.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import {
  buckets,
  encodeAck,
  encodeFailure,
  encodeReply,
  encodeRequest,
  events,
  failures,
  failuresOfAnyMethod,
  limits,
  type MethodName,
  methods,
  toHex,
} from "@sotto/protocol";
import { settings } from "@sotto/server";

export const root = path.join(import.meta.dirname, "..");

const regions: Record<string, () => string> = {
  "example frames": exampleFrames,
  "methods at a glance": methodsTable,
  methods: methodSections,
  events: eventSections,
  failures: failuresTable,
  limits: limitsTable,
  buckets: bucketsTable,
  settings: settingsTable,
};

const regionPattern = /<!-- generated: (.+?) -->\n[\s\S]*?<!-- end -->/g;

/** The document with every region as the code has it now. */
export function regenerate(document: string): string {
  return document.replaceAll(regionPattern, (_, name: string) => {
    const make = regions[name];
    if (make === undefined) throw new Error(`docs: nothing generates the region "${name}"`);
    return `<!-- generated: ${name} -->\n\n${make().trim()}\n\n<!-- end -->`;
  });
}

/** Paths from the root of the documents that have such regions. */
export function generatedDocuments(): string[] {
  return globSync("docs/**/*.md", { cwd: root })
    .filter((file) => readFileSync(path.join(root, file), "utf8").includes("<!-- generated: "))
    .toSorted();
}

/** A few frames as they travel, for whoever writes a client in another language. */
function exampleFrames(): string {
  const conversation = Uint8Array.from({ length: 16 }, (_, i) => i);
  const examples: [string, Uint8Array][] = [
    [
      '[0, 1, "hello", {versions: [1], client: "example"}]',
      encodeRequest(1, "hello", { versions: [1], client: "example" }),
    ],
    [
      "[1, 2, {sequence: 7, acceptedAt: 1800000000000}]",
      encodeReply(2, { sequence: 7, acceptedAt: 1_800_000_000_000 }),
    ],
    [
      '[2, 3, {code: "stale-epoch", retryable: true, epoch: 4, sequence: 9}]',
      encodeFailure(3, { code: "stale-epoch", retryable: true, epoch: 4, sequence: 9 }),
    ],
    ["[4, 7, h'000102030405060708090a0b0c0d0e0f']", encodeAck(7, conversation)],
  ];
  return fence(
    examples.map(([shown, frame]) => `${shown}\n${toHex(frame).replace(/.{100}(?=.)/g, "$&\n")}`).join("\n\n"),
  );
}

function methodsTable(): string {
  const rows = Object.entries(methods).map(([name, { caller, bucket, about }]) => [
    `[\`${name}\`](#${name.toLowerCase()})`,
    caller,
    bucket === "none" ? "" : bucket,
    firstSentence(about),
  ]);
  return table(["method", "who may call", "bucket", "what it does"], rows);
}

function methodSections(): string {
  return (Object.keys(methods) as MethodName[])
    .map((name) => {
      const { about, caller, bucket, params, result, failures: codes } = methods[name];
      const counted = bucket === "none" ? "in no bucket" : `bucket \`${bucket}\``;
      const may = codes.length === 0 ? "no failures of its own" : `fails with ${codes.map(code).join(", ")}`;
      return [
        `### ${name}`,
        escape(about),
        `Caller: ${caller}; ${counted}; ${may}.`,
        fence(`params: ${describe(params)}\nresult: ${describe(result)}`),
      ].join("\n\n");
    })
    .join("\n\n");
}

function eventSections(): string {
  return Object.entries(events)
    .map(([name, { about, payload }]) => [`### ${name}`, escape(about), fence(describe(payload))].join("\n\n"))
    .join("\n\n");
}

function failuresTable(): string {
  const anywhere = new Set<string>(failuresOfAnyMethod);
  const rows = Object.entries(failures).map(([name, { meaning, retryable }]) => [
    code(name),
    retryable ? "yes" : "",
    anywhere.has(name) ? "yes" : "",
    meaning,
  ]);
  return table(["code", "again may help", "any method", "meaning"], rows);
}

/** The reason stands in the comment above a group of limits. */
function limitsTable(): string {
  const source = readFileSync(path.join(root, "packages/protocol/src/limits.ts"), "utf8");
  const body = source.slice(source.indexOf("export const limits"), source.indexOf("} as const"));
  const rows: string[][] = [];
  let reason = "";
  let isNewReason = true;
  for (const line of body.split("\n")) {
    const comment = /^\s*\/\/ (.*)$/.exec(line)?.[1];
    if (comment !== undefined) {
      reason = isNewReason ? comment : `${reason} ${comment}`;
      isNewReason = false;
      continue;
    }
    const name = /^ {2}(\w+):/.exec(line)?.[1] as keyof typeof limits | undefined;
    if (name === undefined) continue;
    rows.push([code(name), quantity(name, limits[name]), reason]);
    reason = "";
    isNewReason = true;
  }
  if (rows.length !== Object.keys(limits).length) throw new Error("docs: limits.ts has a shape that is not understood");
  return table(["limit", "value", "about this one and those below it"], rows);
}

function bucketsTable(): string {
  const rows = Object.entries(buckets).map(([name, { burst, refillMs, by, reason }]) => [
    code(name),
    String(burst),
    `one every ${duration(refillMs)}`,
    by.replaceAll("-", " "),
    reason,
  ]);
  return table(["bucket", "at once", "then", "counted by", "why"], rows);
}

function settingsTable(): string {
  const rows = Object.values(settings).map(({ flag, help, schema }) => {
    const byDefault = (schema as { default?: unknown }).default;
    const isShown = typeof byDefault === "string" || typeof byDefault === "number";
    const shown = typeof byDefault === "boolean" ? (byDefault ? "on" : "off") : isShown ? String(byDefault) : undefined;
    return [code(flag), shown === undefined ? "" : code(shown), help];
  });
  return table(["flag", "default", "meaning"], rows);
}

// Schemas in words

interface Schema {
  readonly type: string;
  readonly entries?: Record<string, Schema>;
  readonly items?: readonly Schema[];
  readonly item?: Schema;
  readonly wrapped?: Schema;
  readonly options?: readonly unknown[];
  readonly pipe?: readonly { readonly type: string; readonly requirement?: unknown }[];
}

const widthMax = 110;

/** A schema as people write shapes: `{ conversation: id, message: bytes ≤ 96 KiB }`. */
function describe(schema: unknown, name = "", indent = ""): string {
  const { type, entries, items, item, wrapped, options, pipe } = schema as Schema;
  const requirement = (kind: string) => pipe?.find((step) => step.type === kind)?.requirement as number | undefined;
  switch (type) {
    case "object":
    case "strict_object": {
      const fields = Object.entries(entries!).map(([key, field]) => {
        const mark = field.type === "optional" ? "?" : "";
        return `${key}${mark}: ${describe(field, key, `${indent}  `)}`;
      });
      if (fields.length === 0) return "{}";
      const line = `{ ${fields.join(", ")} }`;
      if (!line.includes("\n") && indent.length + name.length + line.length < widthMax) return line;
      return `{\n${fields.map((field) => `${indent}  ${field},\n`).join("")}${indent}}`;
    }
    case "optional":
      return describe(wrapped, name, indent);
    case "array": {
      const max = requirement("max_length");
      return `[${describe(item, name, indent)} …]${max === undefined ? "" : ` ≤ ${max}`}`;
    }
    case "strict_tuple":
      return `[${items!.map((part) => describe(part)).join(", ")}]`;
    case "custom": {
      const exactly = requirement("length");
      if (exactly !== undefined) return exactly === 16 && name !== "random" ? "id" : `${exactly} bytes`;
      return `bytes ≤ ${bytes(requirement("max_length")!)}`;
    }
    case "number":
      return /(At|Ms)$/.test(name) ? "time" : "count";
    case "string":
      return pipe?.some((step) => step.type === "regex") === true ? "name" : `text ≤ ${requirement("max_length")}`;
    case "picklist":
      return options!.map((option) => JSON.stringify(option)).join(" | ");
    case "union":
      return options!.map((option) => describe(option, name, indent)).join(" | ");
    case "boolean":
      return "boolean";
    default:
      throw new Error(`docs: no words for a schema of type ${type}`);
  }
}

// Text

const code = (text: string) => `\`${text}\``;
const fence = (text: string) => `\`\`\`text\n${text}\n\`\`\``;
const firstSentence = (text: string) => /^.*?[.;](?=\s|$)/.exec(text)![0].replace(/;$/, ".");

/** Pipes end a cell, and comparison signs would read as tags; neither inside code. */
function escape(text: string): string {
  return text.replace(/(`[^`]*`)|[<>]/g, (found, quoted?: string) => quoted ?? `\\${found}`);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => escape(cell).replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column]!.length)));
  const lines = cells.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`);
  lines.splice(1, 0, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`);
  return lines.join("\n");
}

function quantity(name: string, value: number): string {
  if (name.endsWith("Ms")) return duration(value);
  if (/Bytes(Max|Pause|Cut)?$/.test(name)) return bytes(value);
  return value.toLocaleString("en");
}

function bytes(value: number): string {
  const KiB = 1024;
  const MiB = 1024 * KiB;
  if (value % (1024 * MiB) === 0) return `${value / 1024 / MiB} GiB`;
  if (value % MiB === 0) return `${value / MiB} MiB`;
  return value % KiB === 0 ? `${value / KiB} KiB` : String(value);
}

function duration(milliseconds: number): string {
  const day = 24 * 3_600_000;
  if (milliseconds % day === 0 && milliseconds > day) return `${milliseconds / day} days`;
  const units = [
    [3_600_000, "h"],
    [60_000, "min"],
    [1_000, "s"],
  ] as const;
  for (const [size, unit] of units) if (milliseconds % size === 0) return `${milliseconds / size} ${unit}`;
  return `${milliseconds} ms`;
}

if (import.meta.main) {
  for (const file of generatedDocuments()) {
    const at = path.join(root, file);
    const before = readFileSync(at, "utf8");
    const after = regenerate(before);
    if (after === before) continue;
    writeFileSync(at, after);
    console.log(`wrote ${file}`);
  }
}
