import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { chart } from "./chart.ts";
import { readResults, type Results } from "./harness/results.ts";
import { page, shownResults } from "./report.ts";

const results: Results = {
  machine: "2 cores",
  node: "v26.0.0",
  revision: "abc1234",
  takenOn: "2026-01-02",
  servers: {
    sotto: { version: "1", config: "as it comes", guarantee: "fsync before the acknowledgement", ack: "" },
    other: { version: "2", config: "as <it> comes", guarantee: "no fsync before the acknowledgement", ack: "" },
  },
  figures: {
    a: {
      title: "messages",
      columns: [{ key: "delivered_per_server_cpu_s", label: "delivered", asked: { atLeast: 70_000 } }],
      runs: {
        sotto: [60_000, 50_000, 71_000].map((delivered_per_server_cpu_s) => ({
          delivered_per_server_cpu_s,
          others_cpu_pct: 3,
        })),
        other: [{ delivered_per_server_cpu_s: 16_500 }, { delivered_per_server_cpu_s: null }],
      },
    },
  },
  client: {
    groups: {
      title: "A group",
      table: [
        ["", "2 devices"],
        ["encrypt", "0.5"],
      ],
    },
  },
};

test("the page shows median, spread, what is asked and whether it is met", () => {
  const text = page(results);
  assert.match(text, /\| delivered +\| ≥ 70,000 \| \*\*60,000 \(50,000–71,000\)\*\*, missed \| 16,500 +\|/);
  assert.match(text, /\| other +\| no fsync before the acknowledgement \|/);
  assert.match(text, /\| encrypt \| 0\.5 +\|/);
  assert.doesNotMatch(text, /Not to be relied on/);
});

test("the page says when other programs were in the way", () => {
  const disturbed = structuredClone(results);
  for (const run of disturbed.figures["a"]!.runs["sotto"]!) run["others_cpu_pct"] = 60;
  assert.match(page(disturbed), /Not to be relied on\*\*: in 3 of 3/);
});

test("the picture names every number that it draws, and outlines who may lose what was accepted", () => {
  const picture = chart(results);
  assert.match(picture, /<desc id="d">[^<]*sotto 60,000, other 16,500/);
  assert.match(picture, /class="own" [^>]*width="/);
  assert.match(picture, /class="peer open" x="108" /);
});

test("page and picture in the documents are of the results beside them", () => {
  const beside = (ending: string): string => shownResults.replace(/json$/, ending);
  for (const [ending, make] of [
    ["md", page],
    ["svg", chart],
  ] as const) {
    assert.equal(existsSync(beside(ending)), existsSync(shownResults), path.basename(beside(ending)));
    if (existsSync(shownResults))
      assert.equal(readFileSync(beside(ending), "utf8"), make(readResults(shownResults)), "npm run bench:report");
  }
});
