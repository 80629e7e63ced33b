/**
 * Makes the page and the picture of one results file: `npm run bench:report [-- FILE]`, which writes docs/benchmarks.md,
 * docs/benchmarks.svg, the README's words about them and, beside them, the very results that they show. All come from one reading, so that text and
 * picture never differ.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chart } from "./chart.ts";
import { askedText, type Column, isMet, short } from "./harness/column.ts";
import { readResults, type Results, resultsFile, seenOf } from "./harness/results.ts";

const docs = join(import.meta.dirname, "..", "docs");
export const shownResults = join(docs, "benchmarks.json");
/** Above this share of a core that others took, a repeat says little about anything but CPU time. */
const disturbancePctMax = 25;

type Seen = ReturnType<typeof seenOf>;

export function page(results: Results): string {
  const servers = Object.keys(results.servers);
  const taken = Object.entries(results.figures).filter(([, { runs }]) => Object.keys(runs).length > 0);
  const repeats = Math.max(0, ...taken.flatMap(([, { runs }]) => Object.values(runs).map(({ length }) => length)));
  return [
    "# Benchmarks",
    "",
    `Made by \`npm run bench:report\` from [benchmarks.json](benchmarks.json). [How each figure is taken](../bench/README.md).`,
    "",
    `${results.takenOn}, ${results.machine}, Node ${results.node.replace(/^v/, "")}, sources ${results.revision}; the server on one core, its clients on the`,
    `other; ${repeats === 1 ? "one repeat" : `${repeats} repeats, median (lowest–highest)`}. In each repeat the servers took turns. Compare what is per`,
    "server-CPU-second: it holds when the clients' core was full. Where that core is near 100 % and the server's is not, the server",
    "could do more in a second than the rate beside it says.",
    "",
    ...disturbanceWarning(runsOf(results)),
    "![Sotto beside other servers, per second of one core](benchmarks.svg)",
    "",
    "## What each server promises",
    "",
    table([
      ["server", "accepted means", "version", "configuration"],
      ...servers.map((name) => {
        const { guarantee, version, config } = results.servers[name]!;
        return [name, guarantee, version, config];
      }),
    ]),
    "",
    "## Servers",
    "",
    ...taken.flatMap(([key]) => figureSection(results, key)),
    ...clientSections(results),
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}

const runsOf = ({ figures }: Results) => Object.values(figures).flatMap(({ runs }) => Object.values(runs).flat());

function disturbanceWarning(runs: readonly Record<string, number | null>[]): string[] {
  const pct = runs
    .flatMap((run) => [run["others_cpu_pct"], run["half_others_cpu_pct"]])
    .filter((value) => typeof value === "number");
  const disturbed = pct.filter((value) => value > disturbancePctMax).length;
  if (disturbed * 4 <= pct.length) return [];
  return [
    `> **Not to be relied on**: in ${disturbed} of ${pct.length} measurements other programs took more than a quarter of a core.`,
    "",
  ];
}

function figureSection(results: Results, key: string): string[] {
  const { title, columns, runs } = results.figures[key]!;
  const servers = Object.keys(results.servers).filter((name) => runs[name] !== undefined);
  const rows = columns
    .filter((column) => servers.some((server) => seenOf(results, key, server, column.key) !== undefined))
    .map((column) => [
      column.label,
      askedText(column.asked),
      ...servers.map((server) => cell(column, server, seenOf(results, key, server, column.key))),
    ]);
  const heading = title.charAt(0).toUpperCase() + title.slice(1);
  return [`### ${heading}`, "", table([[`\`${key}\``, "asked", ...servers], ...rows]), ""];
}

function cell({ asked }: Column, server: string, seen: Seen): string {
  if (seen === undefined) return "–";
  const spread = seen.lowest === seen.highest ? "" : ` (${short(seen.lowest)}–${short(seen.highest)})`;
  const text = `${short(seen.median)}${spread}`;
  if (server !== "sotto" || asked === undefined) return text;
  return isMet(asked, seen.median) ? `**${text}**` : `**${text}**, missed`;
}

function clientSections(results: Results): string[] {
  const programs = Object.values(results.client);
  if (programs.length === 0) return [];
  return [
    "## The client",
    "",
    ...programs.flatMap(({ title, table: rows }) => [
      `### ${title}`,
      "",
      table(rows.map((row) => row.map((text) => text.trim()))),
      "",
    ]),
  ];
}

/** Padded as oxfmt pads, so that the two never disagree. */
function table(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map((text) => text.replaceAll("|", "\\|")));
  const widths = cells[0]!.map((_, i) => Math.max(3, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string => `| ${row.map((text, i) => text.padEnd(widths[i]!)).join(" | ")} |`;
  const [head, ...body] = cells;
  return [line(head!), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("\n");
}

const readmeRegion = /(<!-- generated: benchmarks -->)[\s\S]*?(<!-- end -->)/;

/** What the README says of them. */
export function readmeText(results: Results): string {
  const warning = disturbanceWarning(runsOf(results));
  return [
    ...warning,
    "![Sotto beside other servers: messages, deliveries and logins per second of server CPU, latency and memory](docs/benchmarks.svg)",
    "",
    `Seen on ${results.machine}, one core for the server. Every figure with its spread, what is asked of it and what each server promises:`,
    "[benchmarks](docs/benchmarks.md).",
  ].join("\n");
}

if (import.meta.main) {
  const file = process.argv[2] ?? (existsSync(resultsFile) ? resultsFile : shownResults);
  const results = readResults(file);
  writeFileSync(shownResults, `${JSON.stringify(results, undefined, 1)}\n`);
  writeFileSync(join(docs, "benchmarks.md"), page(results));
  writeFileSync(join(docs, "benchmarks.svg"), chart(results));
  const readme = join(docs, "..", "README.md");
  writeFileSync(readme, readFileSync(readme, "utf8").replace(readmeRegion, `$1\n\n${readmeText(results)}\n\n$2`));
  console.log(`docs/benchmarks.md, .svg and .json and the README show ${file}`);
}
