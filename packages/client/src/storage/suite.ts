/**
 * What every adapter of Storage must show: the one suite they all share, in Node and, through testing/browser, inside a
 * real browser.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { keyCharsMax, prefixRange } from "./storage.ts";
import type { Change, Entry, Storage } from "./storage.ts";

/** An empty store for one case, and what may be done to it from outside. */
export interface StorageUnderTest {
  storage: Storage;
  /** Closes whichever store is open and opens the same contents again. */
  reopen(): Promise<Storage>;
  /** Closes it and removes what it left. */
  dispose(): Promise<void>;
}

/** @param open makes an empty store, another one each time */
export function storageSuite(name: string, open: () => Promise<StorageUnderTest>): void {
  describe(`the ${name} store`, () => {
    for (const { title, run } of cases) {
      test(title, async () => {
        const underTest = await open();
        try {
          await run(underTest);
        } finally {
          await underTest.dispose();
        }
      });
    }
  });
}

const cases: { title: string; run(underTest: StorageUnderTest): Promise<void> }[] = [
  {
    title: "gives back what was put, and nothing for a key that was not",
    async run({ storage }) {
      await storage.write([put("a", "one"), put("b/c", "two")]);
      assert.equal(text(await storage.get("a")), "one");
      assert.equal(text(await storage.get("b/c")), "two");
      assert.equal(await storage.get("b"), undefined);
    },
  },
  {
    title: "replaces a value by a longer, a shorter and an empty one",
    async run({ storage }) {
      for (const value of ["one", "a longer one", "o", ""]) {
        await storage.write([put("a", value)]);
        assert.equal(text(await storage.get("a")), value);
      }
      assert.equal(await contents(storage), "a=");
    },
  },
  {
    title: "keeps every byte value",
    async run({ storage }) {
      const value = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      await storage.write([{ kind: "put", key: "bytes", value }]);
      assertSameBytes(await storage.get("bytes"), value);
    },
  },
  {
    title: "forgets a deleted key, and minds no key that is not there",
    async run({ storage }) {
      await storage.write([put("a", "1"), put("b", "2")]);
      await storage.write([
        { kind: "delete", key: "a" },
        { kind: "delete", key: "never-there" },
      ]);
      assert.equal(await contents(storage), "b=2");
    },
  },
  {
    title: "sorts keys by code unit, whatever the order of writing",
    async run({ storage }) {
      const sorted = [
        "!",
        "-",
        "0",
        "00",
        "1",
        "10",
        "2",
        "A",
        "Z",
        "a",
        "a!",
        "a/",
        "a/b",
        "a0",
        "ab",
        "b",
        "z",
        "{",
        "~",
        "~~",
      ];
      const shuffled = sorted.map((_, index) => sorted[(index * 7) % sorted.length]!);
      for (const key of shuffled) await storage.write([put(key, key)]);
      const entries = await storage.range(prefixRange(""));
      assert.equal(entries.map((entry) => entry.key).join(" "), sorted.join(" "));
      for (const { key, value } of entries) assert.equal(text(value), key);
    },
  },
  {
    title: "refuses keys that stores would sort differently or not keep at all",
    async run({ storage }) {
      // U+FF5E comes before U+1F600 in UTF-8 order, after it in UTF-16 order.
      for (const key of [
        "",
        "a b",
        "é",
        "\u{ff5e}",
        "\u{1f600}",
        "\ud800",
        "a\u0000b",
        "a\nb",
        "\x7f",
        "k".repeat(keyCharsMax + 1),
      ]) {
        await assert.rejects(() => storage.get(key), TypeError);
        await assert.rejects(() => storage.write([put("a", "1"), put(key, "2")]), TypeError);
        await assert.rejects(() => storage.write([put("a", "1"), { kind: "delete", key }]), TypeError);
      }
      await assert.rejects(() => storage.range({ from: "é", to: "z" }), TypeError);
      await assert.rejects(() => storage.range({ from: "a", to: "\u{1f600}" }), TypeError);
      await assert.rejects(() => storage.range({ from: "a", to: "b", limit: -1 }), RangeError);
      await assert.rejects(() => storage.range({ from: "a", to: "b", limit: 0.5 }), RangeError);
      assert.equal(await contents(storage), "");
      const longest = "k".repeat(keyCharsMax);
      await storage.write([put(longest, "1")]);
      assert.equal(text(await storage.get(longest)), "1");
    },
  },
  {
    title: "ranges from the first bound up to, but without, the second",
    async run({ storage }) {
      await writeKeys(storage, ["a", "b", "b/1", "b/2", "b0", "c"]);
      assert.equal(await keysIn(storage, { from: "b", to: "c" }), "b b/1 b/2 b0");
      assert.equal(await keysIn(storage, { from: "b/0", to: "b/2" }), "b/1");
      assert.equal(await keysIn(storage, prefixRange("b/")), "b/1 b/2");
      assert.equal(await keysIn(storage, prefixRange("b")), "b b/1 b/2 b0");
      assert.equal(await keysIn(storage, prefixRange("")), "a b b/1 b/2 b0 c");
      assert.equal(await keysIn(storage, prefixRange("~")), "");
      assert.equal(await keysIn(storage, { from: "b", to: "b" }), "");
      assert.equal(await keysIn(storage, { from: "c", to: "a" }), "");
    },
  },
  {
    title: "takes at most the limit, from the near end of the direction",
    async run({ storage }) {
      await writeKeys(storage, ["a", "b", "c", "d", "e"]);
      const all = { from: "a", to: "e" };
      assert.equal(await keysIn(storage, { ...all, limit: 2 }), "a b");
      assert.equal(await keysIn(storage, { ...all, limit: 9 }), "a b c d");
      assert.equal(await keysIn(storage, { ...all, limit: 0 }), "");
      assert.equal(await keysIn(storage, { ...all, reverse: true }), "d c b a");
      assert.equal(await keysIn(storage, { ...all, reverse: true, limit: 2 }), "d c");
      assert.equal(await keysIn(storage, { ...all, reverse: true, limit: 9 }), "d c b a");
      assert.equal(await keysIn(storage, { ...all, reverse: true, limit: 0 }), "");
      assert.equal(await keysIn(storage, { from: "c", to: "a", reverse: true, limit: 3 }), "");
    },
  },
  {
    title: "deletes a range from the first bound up to, but without, the second",
    async run({ storage }) {
      await writeKeys(storage, ["a", "b", "b/1", "b/2", "b0", "c"]);
      await storage.write([{ kind: "deleteRange", from: "x", to: "z" }]);
      await storage.write([{ kind: "deleteRange", from: "b", to: "b" }]);
      await storage.write([{ kind: "deleteRange", from: "c", to: "a" }]);
      assert.equal(await keysIn(storage, prefixRange("")), "a b b/1 b/2 b0 c");
      await storage.write([{ kind: "deleteRange", ...prefixRange("b/") }]);
      assert.equal(await keysIn(storage, prefixRange("")), "a b b0 c");
      await storage.write([{ kind: "deleteRange", from: "b", to: "c" }]);
      assert.equal(await keysIn(storage, prefixRange("")), "a c");
      await storage.write([{ kind: "deleteRange", ...prefixRange("") }]);
      assert.equal(await keysIn(storage, prefixRange("")), "");
    },
  },
  {
    title: "applies the changes of a batch in their order",
    async run({ storage }) {
      await writeKeys(storage, ["a", "b"]);
      await storage.write([
        put("c", "put, then deleted"),
        { kind: "deleteRange", ...prefixRange("") },
        put("a", "put after the deletion"),
        put("d", "first"),
        put("d", "second"),
        put("e", "put"),
        { kind: "delete", key: "e" },
      ]);
      assert.equal(await contents(storage), "a=put after the deletion d=second");
      await storage.write([]);
    },
  },
  {
    title: "changes nothing when one change of the batch is wrong",
    async run({ storage }) {
      await storage.write([put("a", "1"), put("b", "2")]);
      const wrong = [
        put("not allowed", "x"),
        { kind: "put", key: "x", value: "text" },
        { kind: "put", key: "x", value: new Uint8Array(1).buffer },
        { kind: "delete", key: "" },
        { kind: "deleteRange", from: "a", to: "é" },
        { kind: "move", key: "a" },
      ] as Change[];
      for (const change of wrong) {
        await assert.rejects(
          () => storage.write([put("a", "changed"), { kind: "delete", key: "b" }, put("c", "new"), change]),
          TypeError,
        );
      }
      assert.equal(await contents(storage), "a=1 b=2");
    },
  },
  {
    title: "keeps everything when it is closed and opened again",
    async run({ storage, reopen }) {
      await storage.write([put("a", "1"), put("b", "2"), put("c", "3"), put("d", "")]);
      await storage.write([{ kind: "delete", key: "b" }]);
      const again = await reopen();
      assert.equal(await contents(again), "a=1 c=3 d=");
      await again.write([put("b", "new")]);
      assert.equal(await contents(await reopen()), "a=1 b=new c=3 d=");
    },
  },
  {
    title: "copies values on the way in and on the way out",
    async run({ storage }) {
      // A small view of a large buffer, of which nothing else may be kept.
      const written = new Uint8Array(100_000).subarray(50_000, 50_003);
      written.set([1, 2, 3]);
      const writing = storage.write([{ kind: "put", key: "a", value: written }]);
      written.fill(7);
      await writing;
      const expected = new Uint8Array([1, 2, 3]);
      const got = (await storage.get("a"))!;
      assertSameBytes(got, expected);
      assert.ok(got.buffer.byteLength < 10_000);
      got.fill(8);
      const ranged = (await storage.range(prefixRange("")))[0]!.value;
      assertSameBytes(ranged, expected);
      ranged.fill(8);
      assertSameBytes(await storage.get("a"), expected);
    },
  },
  {
    title: "keeps values of a mebibyte beside small ones",
    async run({ storage, reopen }) {
      const large = Uint8Array.from({ length: 1024 * 1024 }, (_, index) => (index * 31 + (index >>> 8)) & 0xff);
      await storage.write([put("a", "small"), { kind: "put", key: "b", value: large }, put("c", "small")]);
      assertSameBytes(await storage.get("b"), large);
      const again = await reopen();
      assertSameBytes(await again.get("b"), large);
      await again.write([put("b", "no longer large")]);
      assert.equal(await contents(again), "a=small b=no longer large c=small");
    },
  },
  {
    title: "finds its way among ten thousand keys",
    async run({ storage }) {
      const keyOf = (n: number) => `entry/${String(n).padStart(12, "0")}`;
      // 7919 is prime, so this visits each number once, out of order.
      const numbers = Array.from({ length: 10_000 }, (_, index) => (index * 7919) % 10_000);
      for (let start = 0; start < numbers.length; start += 1000) {
        await storage.write(numbers.slice(start, start + 1000).map((n) => put(keyOf(n), `value ${n}`)));
      }
      assert.equal(text(await storage.get(keyOf(0))), "value 0");
      assert.equal(text(await storage.get(keyOf(9999))), "value 9999");
      assert.equal(
        await keysIn(storage, { from: keyOf(5000), to: "entry0", limit: 3 }),
        [5000, 5001, 5002].map(keyOf).join(" "),
      );
      assert.equal(
        await keysIn(storage, { ...prefixRange("entry/"), limit: 2, reverse: true }),
        `${keyOf(9999)} ${keyOf(9998)}`,
      );
      const all = await storage.range(prefixRange("entry/"));
      assert.equal(all.length, 10_000);
      all.forEach(({ key, value }, n) => {
        assert.equal(key, keyOf(n));
        assert.equal(text(value), `value ${n}`);
      });
      await storage.write([{ kind: "deleteRange", from: keyOf(1), to: keyOf(9999) }]);
      assert.equal(await keysIn(storage, prefixRange("")), `${keyOf(0)} ${keyOf(9999)}`);
    },
  },
  {
    title: "applies writes that were called at once in the order of the calls",
    async run({ storage }) {
      const settled: number[] = [];
      const writes = Array.from({ length: 50 }, async (_, n) => {
        // Sizes that differ a thousandfold, so that a store which lets short writes overtake is found out.
        const padding = "x".repeat(n % 5 === 0 ? 200_000 : 10);
        await storage.write([
          put("last", `${n}`),
          put(`padding/${n % 3}`, padding),
          put(`write/${String(n).padStart(2, "0")}`, `${n}`),
        ]);
        settled.push(n);
      });
      await Promise.all(writes);
      assert.equal(text(await storage.get("last")), "49");
      assert.equal(settled.join(" "), Array.from({ length: 50 }, (_, n) => n).join(" "));
      assert.equal((await storage.range(prefixRange("write/"))).length, 50);
    },
  },
  {
    title: "shows to a read every write called before it, and none called after",
    async run({ storage }) {
      await storage.write([put("a", "0")]);
      const first = storage.write([put("a", "1"), put("b", "1")]);
      const readBetween = storage.get("a");
      const rangeBetween = keysIn(storage, prefixRange(""));
      const second = storage.write([put("a", "2"), { kind: "delete", key: "b" }]);
      const readAfter = storage.get("a");
      const rangeAfter = keysIn(storage, prefixRange(""));
      assert.equal(text(await readBetween), "1");
      assert.equal(await rangeBetween, "a b");
      assert.equal(text(await readAfter), "2");
      assert.equal(await rangeAfter, "a");
      await Promise.all([first, second]);
    },
  },
  {
    title: "finishes the writes called before it is closed, and refuses every call after",
    async run({ storage, reopen }) {
      const writing = storage.write([put("a", "1")]);
      const closing = storage.close();
      await assertClosed(() => storage.write([put("b", "2")]));
      await writing;
      await closing;
      await storage.close();
      await storage[Symbol.asyncDispose]();
      await assertClosed(() => storage.get("a"));
      await assertClosed(() => storage.range(prefixRange("")));
      await assertClosed(() => storage.write([put("b", "2")]));
      await assertClosed(() => storage.write([]));
      assert.equal(await contents(await reopen()), "a=1");
    },
  },
];

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

function put(key: string, value: string): Change {
  return { kind: "put", key, value: encoder.encode(value) };
}

function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : decoder.decode(value);
}

async function writeKeys(storage: Storage, keys: string[]): Promise<void> {
  await storage.write(keys.map((key) => put(key, key)));
}

async function keysIn(storage: Storage, options: Parameters<Storage["range"]>[0]): Promise<string> {
  return (await storage.range(options)).map(({ key }) => key).join(" ");
}

/** Everything in the store, as "key=value key=value". */
async function contents(storage: Storage): Promise<string> {
  const entries: Entry[] = await storage.range(prefixRange(""));
  return entries.map(({ key, value }) => `${key}=${text(value)}`).join(" ");
}

/** As assert.deepEqual, which takes seconds for a mebibyte. */
function assertSameBytes(actual: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(actual instanceof Uint8Array);
  assert.equal(actual.length, expected.length);
  assert.equal(
    actual.findIndex((byte, index) => byte !== expected[index]),
    -1,
  );
}

async function assertClosed(action: () => Promise<unknown>): Promise<void> {
  await assert.rejects(action, { name: "StorageError", code: "closed", retryable: false });
}
