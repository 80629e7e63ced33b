/** Full and failing disks, clocks that are set and descriptors that run out: nothing false is said, and it heals by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { canWatchDisk } from "./disk-calls.ts";
import { places, playTroubles, runOutOfDescriptors, troubles } from "./faults.ts";

const onLinux = { skip: canWatchDisk ? false : "faults are only played on Linux" };
const who = { server: "the server", alice: "one client", bob: "the other client" };

for (const place of places)
  test(`${who[place]} outlives a full disk, a failing one and steps of its clock`, onLinux, async (t) => {
    const { violations, marks } = await playTroubles(1, place, troubles);
    t.diagnostic(JSON.stringify(marks));
    assert.deepEqual(violations, []);
    for (const trouble of troubles) assert.ok(marks[trouble]! > 0, `${trouble} was not met`);
  });

test(
  "a server without descriptors serves who is connected, and everybody once it has some again",
  onLinux,
  async () => {
    assert.deepEqual((await runOutOfDescriptors()).violations, []);
  },
);
