/** The short form of fuzzing: the same inputs each time, and that no decoder is left out. The long form is a suite of testing/long. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { decodeContent } from "@sotto/e2ee";
import { decodeFrame, toHex } from "@sotto/protocol";
import { attempt } from "./attempt.ts";
import { Broken, bytesDecoder, type Decoder } from "./decoder.ts";
import { decoders } from "./decoders.ts";
import { contents } from "./e2ee-decoders.ts";
import { kept } from "./kept.ts";
import { inputOf } from "./mutations.ts";
import { describeFound, runRound } from "./round.ts";

const root = path.join(import.meta.dirname, "../..");
const rounds = 16;

test("no input makes a decoder fail in a way that it does not tell of, take long, or take memory", async () => {
  let amount = 0;
  for (let round = 0; round < rounds; round++) {
    const { inputs, found } = await runRound(decoders, round);
    amount += inputs;
    assert.deepEqual(found.map(describeFound), []);
  }
  assert.ok(amount >= 40_000, `${amount} inputs`);
});

test("nor does any that once did", async () => {
  for (const [name, what, input] of kept) {
    const decoder = decoders.find((one) => one.name === name);
    assert.ok(decoder, name);
    assert.equal(await attempt(decoder, input), undefined, `${name}: ${what}`);
  }
});

test("every sample is one that its decoder takes", async () => {
  for (const { name, samples, decode } of decoders) {
    for (const sample of samples) {
      await assert.doesNotReject(async () => decode(sample), `${name}: ${toHex(sample)}: run record.ts again?`);
    }
  }
});

test("the same decoder and number make the same input", () => {
  for (const decoder of decoders) assert.deepEqual(inputOf(decoder, 7), inputOf(decoder, 7), decoder.name);
});

describe("what is wrong is found:", () => {
  const sample = new Uint8Array(40).fill(0x61);
  const row = { name: "planted", structure: "bytes", samples: [sample] } as const;
  const plants: readonly [what: string, kind: string, Decoder][] = [
    [
      "an error of another class",
      "error",
      bytesDecoder({
        ...row,
        decode: (input) => (input as unknown as { a: { b: 1 } }[])[41]!.a.b,
        errors: [RangeError],
      }),
    ],
    [
      "a second spelling",
      "broken",
      bytesDecoder({
        ...row,
        decode: (input) => {
          if (input.length === 41) throw new Broken("two of them");
        },
      }),
    ],
    [
      "work that grows with the square of the length",
      "slow",
      bytesDecoder({
        ...row,
        bytesMax: 6_000,
        workMsMax: 10,
        decode: (input) => /a+$/.test(`${Buffer.from(input.length > 1_000 ? input : []).toString("latin1")}x`),
      }),
    ],
    [
      "memory from a length field",
      "memory",
      bytesDecoder({ ...row, decode: (input) => new Uint8Array((input[0] ?? 0) > 99 ? 2 ** 25 : 1) }),
    ],
  ];
  for (const [what, kind, decoder] of plants) {
    test(what, async () => {
      let seed = 0;
      let finding = await attempt(decoder, inputOf(decoder, seed));
      while (finding === undefined && seed < 4_000) finding = await attempt(decoder, inputOf(decoder, ++seed));
      assert.equal(finding?.kind, kind);
    });
  }

  test("and told with an input as short as it can be, and how to see it again", async () => {
    const [, , decoder] = plants[0]!;
    const { inputs, found } = await runRound([decoder], 3);
    assert.equal(found.length, 1);
    assert.ok(inputs <= decoder.inputsPerRound);
    assert.equal(found[0]!.input.length, 0);
    assert.match(describeFound(found[0]!), /^planted: error: TypeError.*replay\.ts "planted" \d+\n/s);
  });
});

describe("no decoder is left out:", () => {
  test("every method and event has its rows", () => {
    // From the names themselves: the rows are made from the same tables.
    const text = readFileSync(path.join(root, "docs/protocol.md"), "utf8");
    const documented = [...text.matchAll(/^### ([a-z]\w*)$|^\| `(\w+)` +\| [A-Z]/gm)].map(
      (match) => match[1] ?? match[2]!,
    );
    assert.ok(documented.length > 40, String(documented.length));
    const rows = new Set(decoders.map(({ name }) => name));
    for (const name of documented) {
      const isThere = rows.has(`params of ${name}`) || rows.has(`event ${name}`);
      assert.ok(isThere, name);
    }
  });

  test("every kind of content and of frame is among the samples", () => {
    const source = readFileSync(path.join(root, "packages/e2ee/src/content.ts"), "utf8");
    const body = source.slice(source.indexOf("function decodeBody"));
    const kinds = new Set([...body.matchAll(/case "([a-z-]+)":/g)].map((match) => match[1]!));
    const sampled = new Set<string>(contents.map((bytes) => decodeContent(bytes).kind));
    assert.ok(kinds.size > 10);
    for (const kind of kinds) assert.ok(sampled.has(kind), kind);
    const frames = decoders.find(({ name }) => name === "frame")!.samples.map((bytes) => decodeFrame(bytes).kind);
    assert.equal(new Set(frames).size, 5);
  });

  /** What is called like a decoder, and why it is none. */
  const others: Readonly<Record<string, string>> = {
    readChainPage: "from the server's own store",
    readFirstGroup: "readGroupInfo and decodeRoster",
    readPassword: "the password is taken as it is",
    readReportDueAt: "from a record of the own store",
    readReports: "from the server's own store",
    readSecretFile: "whole, and decoded by others",
    readText: "the text is taken as it is",
  };
  /** To open is to unseal here; elsewhere it is to begin to use. */
  const sealing = /^packages[\\/](?:protocol|e2ee)/;
  test("every exported function that is called like one is in the table, or said to be none", () => {
    const covered = new Set(decoders.flatMap(({ covers }) => covers));
    const found = new Set<string>();
    const files = globSync("packages/*/src/**/*.ts", { cwd: root });
    for (const file of files.filter((name) => !name.endsWith(".test.ts") && !/[\\/]testing[\\/]/.test(name))) {
      const source = readFileSync(path.join(root, file), "utf8");
      const names = source.matchAll(/^export (?:async )?(?:function|const) ((?:decode|read|open|parse)[A-Z]\w*)/gm);
      for (const [, name = ""] of names) if (!name.startsWith("open") || sealing.test(file)) found.add(name);
    }
    assert.ok(found.size > 40);
    const missing = [...found].filter((name) => !covered.has(name) && !Object.hasOwn(others, name));
    assert.deepEqual(missing, []);
    assert.deepEqual(
      Object.keys(others).filter((name) => !found.has(name)),
      [],
      "these are no more",
    );
  });
});
