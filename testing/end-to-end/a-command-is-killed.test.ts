/**
 * `login` and `password` end by kill -9 just after one of their writes to the disk, and the person does the same again: it succeeds, the
 * account has one device more and not two, and one password opens it. (Each single step: testing/engine/new-device-killed.test.ts.)
 */
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import path from "node:path";
import { before, describe, test } from "node:test";
import { Person, Running, run, sleep, TestServer } from "./harness.ts";

const newPassword = "quiet lanterns over 7 rivers";

function bytesOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** Kills a command when its store has grown so many times; false if it ended before. */
async function killAfterWrites(person: Person, writes: number, argv: string[], variables = {}): Promise<boolean> {
  const log = path.join(person.home, "store.sqlite-wal");
  let bytes = bytesOf(log);
  const command = new Running({
    argv: ["--home", person.home, ...argv],
    stdin: "",
    variables: { SOTTO_PASSWORD: person.password, ...variables },
  });
  for (let left = writes; left > 0 && command.child.exitCode === null; await sleep(1)) {
    const now = bytesOf(log);
    if (now === bytes) continue;
    bytes = now;
    left--;
  }
  const isKilled = command.child.kill("SIGKILL");
  await command.ended;
  return isKilled;
}

describe("a command is killed", { concurrency: false }, () => {
  let server: TestServer;
  let alice: Person;
  let bob: Person;

  before(async () => {
    server = await TestServer.start();
    alice = await Person.register("alice", server);
    bob = await Person.register("bob", server);
    (await alice.run("send", "@bob", "hello")).succeeded();
  });

  for (const writes of [2, 4]) {
    test(`login, when it has written ${writes} times, is finished by login`, async () => {
      const laptop = new Person("alice", alice.password);
      const login = ["login", "alice", "--server", server.address];
      assert.ok(await killAfterWrites(laptop, writes, login), "it was still at work");
      (await laptop.runWithPassword(...login)).succeeded();
      assert.deepEqual(
        (await laptop.history("@bob")).map(({ text }) => text),
        ["hello"],
      );
      const devices = (await laptop.run("devices", "--json")).succeeded().rows;
      assert.equal(devices.length, 2);
      const id = String(devices.find(({ current }) => current)?.["id"]);
      (await alice.runWithPassword("devices", "remove", id)).succeeded();
    });
  }

  test("password: one of the two opens, and it can be changed then", async () => {
    await killAfterWrites(alice, 2, ["password"], { SOTTO_NEW_PASSWORD: newPassword });
    const opened: string[] = [];
    for (const password of [alice.password, newPassword]) {
      const change = await run({
        argv: ["--home", alice.home, "password"],
        variables: { SOTTO_PASSWORD: password, SOTTO_NEW_PASSWORD: "three herons guard the mill" },
      });
      if (change.exitCode === 0) opened.push(password);
      else assert.equal(change.exitCode, 4, change.describe());
    }
    assert.equal(opened.length, 1);
    (await alice.run("send", "@bob", "still here")).succeeded();
    assert.match((await bob.run("inbox")).succeeded().stdout, /still here/);
  });
});
