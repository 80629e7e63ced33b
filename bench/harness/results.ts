/**
 * What the benchmarks found, in one JSON file: every command puts its part in and leaves the others' alone, after every
 * repeat, so that what was measured is kept whatever happens later. The page and the picture are made of this file alone.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import type { Column } from "./column.ts";
import { median } from "./statistics.ts";

/** What one server was measured as. */
export interface Server {
  readonly version: string;
  readonly config: string;
  /** What an accepted message survives. */
  readonly guarantee: string;
  readonly ack: string;
}

export interface MeasuredFigure {
  readonly title: string;
  readonly columns: readonly Column[];
  /** By server: what each repeat gave. A value that could not be had is null. */
  runs: Record<string, Record<string, number | null>[]>;
}

export interface Results {
  readonly machine: string;
  readonly node: string;
  /** Of the sources that were measured, and whether they had changes of their own. */
  readonly revision: string;
  readonly takenOn: string;
  servers: Record<string, Server>;
  figures: Record<string, MeasuredFigure>;
  /** By program: the table that it prints, its heads first. */
  client: Record<string, { title: string; table: readonly (readonly string[])[] }>;
}

export const resultsFile =
  process.env["BENCH_RESULTS"] ?? join(import.meta.dirname, "..", "..", "out", "bench", "results.json");

function facts(): Pick<Results, "machine" | "node" | "revision" | "takenOn"> {
  const memoryGib = Math.round(totalmem() / 2 ** 30);
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  return {
    machine: `${cpus().length} cores (${model}), ${memoryGib} GiB, ${process.platform} ${release()}`,
    node: process.version,
    revision: revision(),
    takenOn: new Date().toISOString().slice(0, 10),
  };
}

function revision(): string {
  try {
    const git = (...words: string[]): string =>
      execFileSync("git", words, { cwd: import.meta.dirname, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return git("rev-parse", "--short", "HEAD").trim() + (git("status", "--porcelain") === "" ? "" : ", changed");
  } catch {
    return "unknown";
  }
}

export function readResults(file: string): Results {
  return JSON.parse(readFileSync(file, "utf8")) as Results;
}

/** Changes the results on disk. */
export function record(change: (results: Results) => void): void {
  const known: Partial<Results> = existsSync(resultsFile) ? readResults(resultsFile) : {};
  const results: Results = { servers: {}, figures: {}, client: {}, ...known, ...facts() };
  change(results);
  mkdirSync(dirname(resultsFile), { recursive: true });
  writeFileSync(resultsFile, `${JSON.stringify(results, undefined, 1)}\n`);
}

/** Median and spread of what the repeats of a figure gave for a server, of those that gave a number. */
export function seenOf(
  results: Results,
  figure: string,
  server: string,
  column: string,
): { median: number; lowest: number; highest: number } | undefined {
  const values = (results.figures[figure]?.runs[server] ?? [])
    .map((run) => run[column])
    .filter((value) => typeof value === "number");
  if (values.length === 0) return undefined;
  return { median: median(values), lowest: Math.min(...values), highest: Math.max(...values) };
}
