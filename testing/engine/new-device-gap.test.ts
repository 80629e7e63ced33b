/** What a new device says of the time when no device of its account was there, until the authors have answered and afterwards. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Server } from "@sotto/server";
import { startServer } from "../server/raw-client.ts";
import { closeAll, createPair, Device, eventually } from "./new-device-setup.ts";

let server: Server & AsyncDisposable;

before(async () => {
  server = await startServer({ rateFactor: 1000 });
});

after(async () => {
  await closeAll();
  await server[Symbol.asyncDispose]();
});

/** The line about it in the history. */
async function gapLine(device: Device, of: Device): Promise<string | undefined> {
  const rows = await device.client.history({ with: of.at, limit: 1000, events: true });
  return rows.flatMap((row) =>
    "event" in row && (row.event === "on-the-way" || row.event === "came-late") ? [row.text] : [],
  )[0];
}

/** What a device that signs in while bob is away says first, and what when he was there. */
async function linesAfter(
  meanwhile: (bob: Device, alice: Device) => Promise<unknown>,
): Promise<(string | undefined)[]> {
  const { alice, bob } = await createPair(server);
  alice.network.goOffline();
  await meanwhile(bob, alice);
  await bob.flush();
  bob.network.goOffline();
  const laptop = await Device.signedIn(alice);
  await eventually("it says that something may be on its way", async () => (await gapLine(laptop, bob)) !== undefined);
  const first = await gapLine(laptop, bob);
  await bob.online();
  await eventually("bob answers", async () => (await gapLine(laptop, bob)) !== first);
  return [first?.replace(bob.at, "@bob"), await gapLine(laptop, bob)];
}

test("what was written meanwhile is announced, and the line says how much came", async () => {
  const lines = await linesAfter(async (bob, alice) => {
    for (const text of ["one", "two"]) await bob.say(alice, text);
  });
  assert.deepEqual(lines, [
    "what was written while no device of yours was there, if anything was, is on its way from @bob",
    "2 messages came late, sent again by those who wrote them",
  ]);
});

test("where nothing was written, the author says so", async () => {
  const lines = await linesAfter(async (bob) =>
    bob.client.markRead({ ids: (await bob.client.inbox({})).map(({ id }) => id) }),
  );
  assert.equal(lines[1], "nothing was written meanwhile");
});

test("a device that comes while another still waits is sent what that one waits for", async () => {
  const { alice, bob } = await createPair(server);
  alice.network.goOffline();
  await bob.say(alice, "one");
  await bob.flush();
  bob.network.goOffline();
  const laptop = await Device.signedIn(alice);
  await eventually("the laptop asks", async () => (await gapLine(laptop, bob)) !== undefined);
  // It settles what it has taken in, and the gap with it.
  await laptop.flush();
  const tablet = await Device.signedIn(alice);
  await tablet.flush();
  await bob.online();
  for (const device of [laptop, tablet])
    await eventually("it has what bob wrote", async () => (await device.texts(bob)).includes("one"));
  // What came late is archived by now, and a further device finds it there.
  for (const device of [laptop, tablet]) await device.flush();
  for (const device of [laptop, tablet, bob]) device.network.goOffline();
  assert.ok((await (await Device.signedIn(alice)).texts(bob)).includes("one"));
});
