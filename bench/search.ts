/**
 * What a search costs: `node bench/search.ts`. A sealed home folder with a long past, made without a server; then searches in it, in one
 * process and in a new `sotto search`, with what the index takes on disk, in memory and while messages come. Needs a build;
 * SOTTO_BENCH_SOURCE=1 runs the sources (`node --expose-gc --conditions=@sotto/source`).
 *
 * Texts are words of a made-up language with the frequencies of a real one (Zipf), the same in every run.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createClient } from "@sotto/client";
import { nodePlatform, openHomeStorage } from "@sotto/client/node";
import { makeHistory } from "@sotto/client/testing";

const messages = Number(process.env["MESSAGES"] ?? 100_000);
const conversations = Number(process.env["CONVERSATIONS"] ?? 100);
const textBytes = Number(process.env["TEXT_BYTES"] ?? 200);
const repeats = Number(process.env["REPEATS"] ?? 20);
const fromSource = process.env["SOTTO_BENCH_SOURCE"] === "1";
const vocabularyWords = 20_000;
/** Nobody listens there. */
const nobody = "localhost:1";

const rows: [what: string, figure: string][] = [];
const row = (what: string, figure: string): void => void rows.push([what, figure]);
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const milliseconds = (ms: number): string => `${ms >= 100 ? Math.round(ms) : ms.toPrecision(2)} ms`;

const home = mkdtempSync(path.join(tmpdir(), "sotto-bench-search-"));
try {
  await fill();
  await measureSearches();
  measureCommand();
} finally {
  rmSync(home, { recursive: true, force: true });
}
const width = Math.max(...rows.map(([what]) => what.length));
console.log(`${messages} messages of about ${textBytes} bytes in ${conversations} conversations\n`);
for (const [what, figure] of rows) console.log(`${what.padEnd(width)}  ${figure.padStart(22)}`);

async function fill(): Promise<void> {
  const write = textWriter();
  await using storage = await openHomeStorage({ home });
  const writtenBytes = { index: 0, all: 0 };
  const counting = storage.write.bind(storage);
  storage.write = (changes) => {
    for (const change of changes) {
      if (change.kind !== "put") continue;
      writtenBytes.all += change.value.length;
      if (change.key.startsWith("search")) writtenBytes.index += change.value.length;
    }
    return counting(changes);
  };
  const startedMs = performance.now();
  await makeHistory(storage, { conversations, messages, server: nobody, text: write });
  row("taken in, 256 a batch, each message", milliseconds((performance.now() - startedMs) / messages));
  row("written into the index, each message", `${Math.round(writtenBytes.index / messages)} bytes`);
  row("of all that is written", `${Math.round((100 * writtenBytes.index) / writtenBytes.all)} %`);
  const sizeOf = async (prefix: string): Promise<number> => {
    let bytes = 0;
    for (let from = prefix; ;) {
      const page = await storage.range({ from, to: `${prefix}~`, limit: 256 });
      for (const { key, value } of page) bytes += key.length + value.length;
      if (page.length < 256) return bytes;
      from = `${page.at(-1)!.key}!`;
    }
  };
  row("index, in the store", mebibytes((await sizeOf("search/")) + (await sizeOf("search-new/"))));
  row("messages, in the store", mebibytes((await sizeOf("timeline/")) + (await sizeOf("content/"))));
  row("the store's file", mebibytes(statSync(path.join(home, "store.sqlite")).size));
}

async function measureSearches(): Promise<void> {
  await using client = await createClient(nodePlatform(await openHomeStorage({ home })), { stretching: 0 });
  const before = memoryBytes();
  const startedMs = performance.now();
  await client.search({ words: "x" });
  row("first search of a process (the index is read)", milliseconds(performance.now() - startedMs));
  row("memory while there is searching", mebibytes(memoryBytes() - before));
  const common = wordOf(3);
  const rare = wordOf(vocabularyWords - 5);
  const queries: [what: string, words: string][] = [
    ["one letter, as one begins to type", common[0]!],
    ["a common word", common],
    ["a rare word", rare],
    ["a word that nobody wrote", "qqqqqqq"],
    ["two common words that never meet", `"${common} ${common}" ${wordOf(4)}`],
    ["five common words", [1, 2, 3, 4, 5].map(wordOf).join(" ")],
    ["a phrase", `"${wordOf(0)} ${wordOf(1)}"`],
    ["a rare word from one person", `from:@peer7 ${rare}`],
    ["a common word in one month", `after:2025 on:2026-02 ${common}`],
    ["links from one person (there are none)", "from:@peer7 has:link"],
  ];
  for (const [what, words] of queries) {
    const times: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++) {
      const from = performance.now();
      await client.search({ words });
      times.push(performance.now() - from);
    }
    times.sort((a, b) => a - b);
    const median = times[Math.floor(times.length / 2)]!;
    row(`${what}: median, slowest of ${repeats}`, `${milliseconds(median)}, ${milliseconds(times.at(-1)!)}`);
  }
}

function measureCommand(): void {
  const main = path.join(import.meta.dirname, `../packages/cli/${fromSource ? "src/main.ts" : "dist/main.js"}`);
  const flags = ["--disable-warning=ExperimentalWarning", ...(fromSource ? ["--conditions=@sotto/source"] : [])];
  const run = (...command: string[]): number => {
    const startedMs = performance.now();
    const { status, stderr } = spawnSync(process.execPath, [...flags, main, ...command, "--home", home]);
    if (status !== 0) throw new Error(`${command.join(" ")} ended with ${status}: ${String(stderr)}`);
    return performance.now() - startedMs;
  };
  const best = (...command: string[]): number => Math.min(...Array.from({ length: 3 }, () => run(...command)));
  row("`sotto search`, start to end, no server", milliseconds(best("search", wordOf(vocabularyWords - 5))));
  row("`sotto conversations`, for comparison", milliseconds(best("conversations")));
}

function memoryBytes(): number {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return globalThis.gc ? heapUsed + external : rss;
}

/** The word of this rank: the more common, the shorter. */
function wordOf(rank: number): string {
  const syllables = ["ba", "ko", "mi", "ten", "lu", "ra", "so", "vi", "den", "pa", "gu", "for"];
  let word = "";
  for (let rest = rank + 1; rest > 0; rest = Math.floor(rest / syllables.length))
    word += syllables[rest % syllables.length]!;
  return word;
}

function textWriter(): () => string {
  let seed = 1;
  const next = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  return () => {
    let text = "";
    // Zipf: the logarithm of the rank is even.
    while (text.length < textBytes) text += `${wordOf(Math.floor(vocabularyWords ** next()) - 1)} `;
    return text.trimEnd();
  };
}
