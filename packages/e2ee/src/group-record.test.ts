import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex, encodeRoster } from "@sotto/protocol";
import { E2eeError } from "./errors.ts";
import {
  confirmCommit,
  decodeGroup,
  encodeEpochRecord,
  encodeRatchetRecord,
  encrypt,
  type Group,
  groupInfo,
  stageCommit,
} from "./group.ts";
import {
  expectCommit,
  expectMessage,
  groupOf,
  joinExternally,
  keyPackageOf,
  Person,
  process,
  utf8,
} from "./testing/people.ts";

const people = () => [new Person("alice"), new Person("bob"), new Person("carol")] as const;

function records(group: Group) {
  return { epochRecord: encodeEpochRecord(group), ratchetRecord: encodeRatchetRecord(group) };
}

function reload(group: Group): Group {
  return decodeGroup({ ...records(group), device: group.parts().device });
}

for (const suite of [1, 83] as const) {
  test(`suite ${suite}: a group that was stored at every step behaves like one that never was`, async () => {
    const [alice, bob, carol] = people();
    const { groups, directory, roster } = await groupOf(suite, [alice, bob, carol]);
    let [a, b] = groups as [Group, Group];
    const late: Uint8Array[] = [];
    for (let epoch = 0; epoch < 3; epoch++) {
      const skipped = await encrypt(a, utf8(`late ${epoch}`), directory);
      const sent = await encrypt(reload(skipped.group), utf8(`now ${epoch}`), directory);
      late.push(skipped.message);
      b = reload((await expectMessage(reload(b), sent.message, directory)).group);
      const { group, staged } = await stageCommit(reload(sent.group), { update: true, roster: encodeRoster(roster) });
      a = reload(await expectCommit(reload(group), staged.commit, directory));
      b = reload(await expectCommit(reload(b), staged.commit, directory));
      assert.deepEqual(a.epochAuthenticator, b.epochAuthenticator);
    }
    for (const message of late.slice(1)) {
      const read = await expectMessage(reload(b), message, directory);
      assert.match(read.text, /^late/);
      b = reload(read.group);
      assert.equal((await process(b, message, directory)).kind, "skipped");
    }
    assert.deepEqual(records(reload(b)), records(b));
    assert.deepEqual(b.roster, a.roster);
    assert.deepEqual(b.leaves(), a.leaves());
  });

  test(`suite ${suite}: a staged commit and a pending join survive a restart`, async () => {
    const [alice, bob, carol] = people();
    const { groups, directory, conversation, roster } = await groupOf(suite, [alice, bob]);
    const newcomer = await keyPackageOf(carol.phone, suite);
    const { group, staged } = await stageCommit(groups[0]!, {
      add: [newcomer.bytes],
      directory: { chain: (account) => [alice, bob, carol].find((p) => toHex(p.account) === toHex(account))?.chain },
      roster: encodeRoster({
        ...roster,
        version: 2,
        members: [...roster.members, { account: carol.account, role: "member" }],
      }),
    });
    const revived = reload(group);
    assert.deepEqual(revived.staged, staged);
    await assert.rejects(
      encrypt(revived, utf8("x"), directory),
      (error) => error instanceof E2eeError && error.code === "commit-staged",
    );
    const confirmed = confirmCommit(revived, staged.id);
    assert.deepEqual([confirmed.epoch, confirmed.roster?.version], [2, 2]);

    const laptop = bob.addDevice("laptop");
    const joined = await joinExternally(laptop, await groupInfo(groups[1]!), directory, conversation);
    assert(joined.kind === "staged");
    const pending = reload(joined.group);
    assert.equal(pending.standing, "joining");
    const inside = await expectCommit(pending, joined.staged.commit, directory);
    const told = await expectCommit(groups[1]!, joined.staged.commit, directory);
    const { message } = await encrypt(inside, utf8("joined after a restart"), directory);
    assert.equal((await expectMessage(told, message, directory)).text, "joined after a restart");
  });
}

test("the signature key is in no record", async () => {
  const [alice, bob] = people();
  const { groups, roster } = await groupOf(1, [alice, bob]);
  const { group } = await stageCommit(groups[0]!, { update: true, roster: encodeRoster(roster) });
  const secret = toHex(alice.phone.keys.signature.privateKey.reveal());
  for (const record of Object.values(records(group))) assert.equal(toHex(record).includes(secret), false);
});

test("the ratchet record of two devices is smaller than a message, past epochs included", async () => {
  const [alice, bob] = people();
  const sizes = [];
  for (const suite of [1, 83] as const) {
    const { groups } = await groupOf(suite, [alice, bob]);
    sizes.push(encodeRatchetRecord(groups[0]!).length);
  }
  assert(sizes[0]! < 256 && sizes[1]! < 300, sizes.join());
});

test("a record that is damaged, of another version, or not of the same epoch is refused by name", async () => {
  const [alice, bob] = people();
  const { groups, directory, roster } = await groupOf(1, [alice, bob]);
  const { group, staged } = await stageCommit(groups[0]!, { update: true, roster: encodeRoster(roster) });
  const next = records(await expectCommit(group, staged.commit, directory));
  const now = records(groups[0]!);
  const device = alice.phone.keys;
  const code = (run: () => unknown) => {
    try {
      run();
      return "accepted";
    } catch (error) {
      return error instanceof E2eeError ? error.code : "untyped";
    }
  };
  assert.equal(
    code(() => decodeGroup({ ...now, ratchetRecord: next.ratchetRecord, device })),
    "record-damaged",
  );
  assert.equal(
    code(() => decodeGroup({ ...now, epochRecord: now.epochRecord.slice(0, -1), device })),
    "record-damaged",
  );
  assert.equal(
    code(() => decodeGroup({ ...now, epochRecord: new Uint8Array(), device })),
    "record-damaged",
  );
  const otherEngine = now.epochRecord.slice();
  otherEngine[2]! ^= 1;
  assert.equal(
    code(() => decodeGroup({ ...now, epochRecord: otherEngine, device })),
    "record-version",
  );
});
