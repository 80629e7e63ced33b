/**
 * Devices that are listed, renamed and removed; a password that is changed or lost; the recovery code; the limit of devices. Each
 * device is a folder of its own, each command a process.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { createClient } from "@sotto/client";
import { nodePlatform } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import { eventually, type Outcome, Person, run, TestServer } from "./harness.ts";

/** As many devices as an account may have. */
const devicesMax = 10;

/** Another device of somebody, signed in. */
async function signIn(as: Person, server: TestServer, password = as.password, ...argv: string[]): Promise<Person> {
  const device = new Person(as.name, password);
  (await device.runWithPassword("login", as.name, "--server", server.address, ...argv)).succeeded();
  return device;
}

const texts = async (of: Person, withWhom: string) => (await of.history(withWhom)).map(({ text }) => text);

async function deviceOf(person: Person): Promise<string> {
  return String((await person.run("whoami", "--json")).succeeded().row["device"]);
}

/** It ended with this code, which the JSON on standard error names. */
function refused(outcome: Outcome, exitCode: number, code: string): Outcome {
  assert.equal(outcome.exitCode, exitCode, outcome.describe());
  assert.equal(outcome.stdout, "", outcome.describe());
  // News of the account may stand before it.
  const { error } = JSON.parse(outcome.stderr.trimEnd().split("\n").at(-1)!) as {
    error: { code: string; hint?: string };
  };
  assert.equal(error.code, code, outcome.describe());
  assert.ok(error.hint, "it says what to do");
  return outcome;
}

/** Whatever it tries, it is refused, and told why. */
async function isOut(person: Person): Promise<void> {
  for (const argv of [["send", "@bob", "am i still there?"], ["devices"]]) {
    refused(await person.run(...argv, "--json"), 4, "device-revoked");
  }
}

describe("a device is lost", { concurrency: false }, () => {
  let server: TestServer;
  let bob: Person;

  before(async () => {
    server = await TestServer.start();
    bob = await Person.register("bob", server);
  });

  describe("devices and the password", { concurrency: false }, () => {
    let alice: Person;
    let laptop: Person;
    const newPassword = "quiet lanterns over 7 rivers";

    before(async () => {
      alice = await Person.register("alice", server);
      (await alice.run("send", "@bob", "hello")).succeeded();
      (await bob.run("inbox")).succeeded();
      laptop = await signIn(alice, server);
    });

    test("devices are listed with their times, and this one is marked", async () => {
      const rows = (await laptop.run("devices", "--json")).succeeded().rows;
      assert.equal(rows.length, 2);
      const current = rows.filter((row) => row["current"]);
      assert.deepEqual(
        current.map(({ id }) => id),
        [await deviceOf(laptop)],
      );
      for (const { addedAt, lastSeenAt } of rows) {
        assert.ok(Math.abs(Date.parse(String(addedAt)) - Date.now()) < 10 * 60_000);
        assert.ok(Math.abs(Date.parse(String(lastSeenAt)) - Date.now()) < 10 * 60_000);
      }
    });

    test("a device that is renamed has that name on the others too", async () => {
      const id = await deviceOf(laptop);
      (await alice.run("devices", "rename", id.slice(0, 8), "old", "laptop")).succeeded();
      for (const device of [alice, laptop]) {
        const rows = (await device.run("devices", "--json")).succeeded().rows;
        assert.equal(rows.find((row) => row["id"] === id)?.["name"], "old laptop");
      }
      (await alice.run("devices", "rename", "00000000", "nothing")).failed(3, /no device/);
    });

    test("removing takes the right password, and another device than this one", async () => {
      const id = await deviceOf(laptop);
      const wrong = await run({
        argv: ["--home", alice.home, "devices", "remove", id, "--json"],
        variables: { SOTTO_PASSWORD: "not the geese at all" },
      });
      refused(wrong, 4, "wrong-password");
      (await alice.runWithPassword("devices", "remove", await deviceOf(alice))).failed(2, /this device/);
      (await alice.runWithPassword("devices", "remove", "00000000")).failed(3, /no device/);
      (await laptop.run("inbox")).succeeded();
    });

    test("a removed device is out, keeps what it had, and reads nothing of what comes later", async () => {
      const tablet = await signIn(alice, server);
      (await alice.runWithPassword("devices", "remove", await deviceOf(laptop))).succeeded();
      (await alice.run("send", "@bob", "between us")).succeeded();
      assert.match((await bob.run("inbox")).succeeded().stdout, /between us/);
      (await bob.run("send", "@alice", "indeed")).succeeded();
      (await alice.run("inbox")).succeeded();
      await isOut(laptop);
      const left = await laptop.run("history", "@bob", "--json");
      assert.doesNotMatch(left.stdout + left.stderr, /between us|indeed/);
      assert.deepEqual(await texts(tablet, "@bob"), ["hello", "between us", "indeed"]);
      assert.equal((await alice.run("devices", "--json")).succeeded().rows.length, 2);
      const again = await signIn(alice, server);
      assert.deepEqual(await texts(again, "@bob"), ["hello", "between us", "indeed"]);
    });

    test("even the password does not bring a removed device's folder back, and it says so", async () => {
      refused(await laptop.runWithPassword("login", "alice", "--json"), 4, "device-revoked");
    });

    test("the password is changed: the old one is refused, other devices stay signed in", async () => {
      const phone = await signIn(alice, server);
      const change = (variables: Record<string, string>): Promise<Outcome> =>
        run({ argv: ["--home", alice.home, "password", "--json"], variables });
      refused(
        await change({ SOTTO_PASSWORD: "not the geese at all", SOTTO_NEW_PASSWORD: newPassword }),
        4,
        "wrong-password",
      );
      refused(await change({ SOTTO_PASSWORD: alice.password, SOTTO_NEW_PASSWORD: "12345678" }), 2, "password-weak");
      (await change({ SOTTO_PASSWORD: alice.password, SOTTO_NEW_PASSWORD: newPassword })).succeeded();
      const late = new Person("alice", alice.password);
      refused(await late.runWithPassword("login", "alice", "--server", server.address, "--json"), 4, "wrong-password");
      (await phone.run("send", "@bob", "still signed in")).succeeded();
      assert.match((await bob.run("inbox")).succeeded().stdout, /still signed in/);
      const fresh = await signIn(alice, server, newPassword);
      assert.ok((await texts(fresh, "@bob")).includes("still signed in"));
    });
  });

  test("at the limit of devices a new one takes the place of another", async () => {
    // Nine of the ten are in this process: they only have to be there.
    await using devices = new AsyncDisposableStack();
    const open = async () =>
      devices.use(await createClient(nodePlatform(await openMemoryStorage(new MemoryDisk())), { stretching: 0 }));
    const account = { name: "dora", server: server.address, password: "dora keeps seven grey geese" };
    const first = await open();
    await first.register(account);
    let last = first;
    for (let n = 1; n < devicesMax; n++) {
      last = await open();
      await last.login(account);
    }
    const lost = (await last.whoami()).device;
    const oneMore = new Person(account.name, account.password);
    const full = await oneMore.runWithPassword("login", "dora", "--server", server.address, "--json");
    refused(full, 4, "device-limit");
    const prefix = lost.slice(0, 8);
    assert.match(full.stderr, new RegExp(prefix), "it names those that could go");
    (await oneMore.runWithPassword("login", "dora", "--server", server.address, "--replace", prefix)).succeeded();
    await assert.rejects(last.sync({ timeoutMs: 10_000 }), { code: "device-revoked" });
    assert.equal((await first.sync({ timeoutMs: 10_000 })).connected, true);
    const ids = (await first.devices()).map(({ id }) => id);
    assert.equal(ids.length, devicesMax);
    assert.ok(ids.includes(await deviceOf(oneMore)) && !ids.includes(lost));
  });

  describe("the recovery code", { concurrency: false }, () => {
    let carol: Person;
    let code: string;
    const newPassword = "seven lanterns over quiet rivers";

    const recover = (spelled: string, ...argv: string[]): Promise<Outcome> =>
      run({
        argv: ["--home", found.home, "recover", "carol", "--server", server.address, "--code", "-", "--json", ...argv],
        variables: { SOTTO_PASSWORD: newPassword },
        stdin: `${spelled}\n`,
      });
    const found = new Person("carol", newPassword);

    before(async () => {
      carol = new Person("carol");
      const registered = await carol.runWithPassword("register", "carol", "--server", server.address, "--json");
      code = String(registered.succeeded().row["recoveryCode"]);
      (await carol.run("send", "@bob", "remember this")).succeeded();
      (await bob.run("inbox")).succeeded();
      (await bob.run("send", "@carol", "i do")).succeeded();
      (await carol.run("inbox")).succeeded();
    });

    test("a typo in it is told as one, before anything is sent", async () => {
      const last = code.at(-1) === "A" ? "B" : "A";
      refused(await recover(code.slice(0, -1) + last), 2, "recovery-code-typo");
      refused(await recover(""), 2, "recovery-code-typo");
      (await carol.run("inbox")).succeeded();
    });

    test("somebody else's code is refused", async () => {
      const other = new Person("eve");
      const registered = await other.runWithPassword("register", "eve", "--server", server.address, "--json");
      refused(await recover(String(registered.succeeded().row["recoveryCode"])), 4, "wrong-recovery-code");
      (await carol.run("inbox")).succeeded();
    });

    test("the right one brings everything back, and the lost device is out", async () => {
      const { restored } = (await recover(code)).succeeded().row;
      assert.equal(restored, true);
      assert.deepEqual(await texts(found, "@bob"), ["remember this", "i do"]);
      await isOut(carol);
      assert.deepEqual(
        (await found.run("devices", "--json")).succeeded().rows.map(({ current }) => current),
        [true],
      );
    });

    test("contacts can write again, and are answered", async () => {
      (await bob.run("send", "@carol", "is it you?", "--wait", "accepted")).succeeded();
      assert.match((await found.run("inbox")).succeeded().stdout, /is it you\?/);
      (await found.run("send", "@bob", "it is me")).succeeded();
      assert.match((await bob.run("inbox")).succeeded().stdout, /it is me/);
      const late = await carol.run("history", "@bob", "--json");
      assert.doesNotMatch(late.stdout + late.stderr, /is it you|it is me/);
    });

    test("the new password opens the account on yet another device, the old one does not", async () => {
      const late = new Person("carol", carol.password);
      (await late.runWithPassword("login", "carol", "--server", server.address)).failed(4, /not right/);
      const laptop = await signIn(found, server);
      const shown = await eventually(
        () => texts(laptop, "@bob"),
        (all) => all.length === 4,
      );
      assert.deepEqual(shown, ["remember this", "i do", "is it you?", "it is me"]);
    });

    test("a new code replaces the one before", async () => {
      const made = (await found.runWithPassword("recovery-code", "new", "--json")).succeeded().row;
      const empty = new Person("carol", "eleven pelicans paint the harbour");
      const recoverHere = (spelled: string): Promise<Outcome> =>
        run({
          argv: ["--home", empty.home, "recover", "carol", "--server", server.address, "--code", "-", "--json"],
          variables: { SOTTO_PASSWORD: empty.password },
          stdin: spelled,
        });
      refused(await recoverHere(code), 4, "wrong-recovery-code");
      (await recoverHere(String(made["recoveryCode"]))).succeeded();
      await isOut(found);
    });
  });
});
