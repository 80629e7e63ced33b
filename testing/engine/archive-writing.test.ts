/** How a running client writes its account's archive: no more often than it is asked to, and nothing is left out. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

test("what is sent while a chunk is on its way does not have it replaced at once, and is archived by the next run", async () => {
  const { alice, bob } = await createPair(server);
  const written = () => alice.lies.called.filter((method) => method === "putArchive").length;
  const before = written();
  await alice.say(bob, "one");
  const sent = Promise.withResolvers<void>();
  alice.hold("putArchive", () => sent.promise);
  const flushed = alice.flush();
  for (const text of ["two", "three"]) await alice.say(bob, text);
  sent.resolve();
  await flushed;
  assert.equal(written() - before, 1);
  alice.hold("putArchive", undefined);
  await alice.flush();
  assert.equal(written() - before, 2);
  alice.network.goOffline();
  const laptop = await Device.signedIn(alice);
  assert.deepEqual(await laptop.texts(bob), ["hello", "hello yourself", "one", "two", "three"]);
});
