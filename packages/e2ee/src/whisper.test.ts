/** Who can say and hear a whisper: a device that has a leaf, in the same epoch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeCbor, encodeCbor, encodeRoster, toHex } from "@sotto/protocol";
import { stageCommit } from "./group.ts";
import { expectCommit, groupOf, Person, seededRandom } from "./testing/people.ts";
import { openWhisper, sealWhisper, type Whisper } from "./whisper.ts";

const random = seededRandom("whispers");
const typing: Whisper = { kind: "typing", active: true, sentAtMs: 1_790_000_000_000 };

async function scene() {
  const [alice, bob, carol] = [new Person("alice"), new Person("bob"), new Person("carol")];
  const made = await groupOf(1, [alice, bob, carol]);
  const [alices, bobs] = made.groups as [(typeof made.groups)[0], (typeof made.groups)[0]];
  const { conversation } = made;
  const say = (whisper = typing, device = alice.phone.keys, group = alices) =>
    sealWhisper({ group, conversation, device, random, whisper });
  const hear = (bytes: Uint8Array, group = bobs, of = conversation) => openWhisper({ group, conversation: of, bytes });
  return { ...made, alice, bob, carol, alices, bobs, say, hear };
}

test("a whisper is heard by the members of its epoch, and says which device said it", async () => {
  const { alice, alices, bobs, say, hear, directory, roster } = await scene();
  const bytes = await say();
  assert.deepEqual(await hear(bytes), { ...typing, account: alice.account, device: alice.phone.keys.device });
  const stopped = await say({ ...typing, active: false });
  assert.equal((await hear(stopped))?.active, false);
  assert.equal(stopped.length, bytes.length, "its length says nothing");

  const { group, staged } = await stageCommit(alices, { update: true, roster: encodeRoster(roster) });
  const next = await expectCommit(bobs, staged.commit, directory);
  assert.equal(await hear(bytes, next), undefined, "the epoch is over");
  const later = await say(typing, alice.phone.keys, await expectCommit(group, staged.commit, directory));
  assert.ok(await hear(later, next));
  assert.equal(await hear(later), undefined);
});

test("no two whispers have a nonce in common, and the same said twice is other bytes", async () => {
  const { say } = await scene();
  const nonces = new Set<string>();
  for (let i = 0; i < 50; i++) nonces.add(toHex((decodeCbor(await say()) as Uint8Array[])[3]!));
  assert.equal(nonces.size, 50);
});

test("nobody whispers in another's name, nor into another conversation", async () => {
  const { alice, bob, bobs, carol, say, hear } = await scene();
  // Carol has the epoch's secret, and no key of alice's.
  const forged = await say(typing, { ...carol.phone.keys, device: alice.phone.keys.device });
  assert.equal(await hear(forged), undefined);
  const ghost = alice.ghost();
  assert.equal(await hear(await say(typing, ghost.keys)), undefined, "a device without a leaf");
  const other = (await groupOf(1, [alice, bob], undefined, "another")).conversation;
  assert.equal(await hear(await say(), bobs, other), undefined);
});

test("what is not a whisper is nothing", async () => {
  const { say, hear } = await scene();
  const bytes = await say();
  for (let at = 0; at < bytes.length; at++) {
    const changed = Uint8Array.from(bytes);
    changed[at]! ^= 1;
    assert.equal(await hear(changed), undefined, `byte ${at}`);
  }
  const whole = decodeCbor(bytes) as unknown[];
  for (const made of [
    new Uint8Array(),
    bytes.slice(1),
    bytes.slice(0, -1),
    encodeCbor(null),
    encodeCbor([]),
    encodeCbor([...whole, 1]),
    encodeCbor([2, ...whole.slice(1)]),
    encodeCbor(whole.with(1, -1)),
    encodeCbor(whole.with(3, new Uint8Array(12))),
    encodeCbor(whole.with(4, "sealed")),
    random.bytes(300),
  ])
    assert.equal(await hear(made), undefined);
});
