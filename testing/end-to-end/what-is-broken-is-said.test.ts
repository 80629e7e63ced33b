/** Broken folders, full disks, ports that are taken: one line, a hint, exit code 7, no stack, and nothing that pretends to work. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { before, describe, test } from "node:test";
import { createFolder, type Outcome, Person, run, TestServer } from "./harness.ts";

const isRoot = process.getuid?.() === 0;

describe("what is broken is said", { concurrency: false }, () => {
  let server: TestServer;
  let alice: Person;
  let bob: Person;

  before(async () => {
    server = await TestServer.start();
    alice = await Person.register("alice", server);
    bob = await Person.register("bob", server);
    (await alice.run("send", "@bob", "hello")).succeeded();
  });

  describe("folders", () => {
    test("a home that cannot be written", async () => {
      const home = path.join(unwritableFolder(), "home");
      (await run({ argv: ["--home", home, "whoami"] })).failed(7, /home/);
    });

    test("a store that is damaged", async () => {
      const broken = copyHome(alice.home);
      overwriteStore(broken, (bytes) => bytes.fill(0x5a, 100, Math.min(bytes.length, 20_000)));
      (await run({ argv: ["--home", broken, "history", "@bob"] })).failed(7, /store|damaged|corrupt/);
    });

    test("a store of a newer version", async () => {
      const newer = copyHome(alice.home);
      const store = new DatabaseSync(storeFile(newer));
      store.exec("PRAGMA user_version = 9999");
      store.close();
      (await run({ argv: ["--home", newer, "inbox"] })).failed(7, /newer|update/);
    });

    test("a copy of a home folder is noticed, and does not send", async () => {
      const copy = copyHome(alice.home);
      (await alice.run("send", "@bob", "the original")).succeeded();
      const copied: Outcome = await run({ argv: ["--home", copy, "send", "@bob", "the copy"] });
      copied.failed(6, /copy/);
    });

    test("others may not look into a home folder", { skip: process.platform === "win32" }, async () => {
      const open = copyHome(bob.home);
      chmodSync(open, 0o755);
      const checked = await run({ argv: ["--home", open, "doctor"] });
      assert.equal(checked.exitCode, 7, checked.describe());
      assert.match(checked.stdout, /not ok {2}home .*chmod 700/);
    });
  });

  describe("starting a server", () => {
    test("a port that is in use, that is none, or that one may not have", async () => {
      const data = path.join(createFolder("server"), "data");
      (await run({ argv: ["serve", "--data", data, "--port", String(server.facts.port)] })).failed(
        7,
        new RegExp(`${server.facts.port}`),
      );
      (await run({ argv: ["serve", "--data", data, "--port", "99999"] })).failed(2, /--port/);
      (await run({ argv: ["serve", "--data", data, "--port", "http"] })).failed(2, /--port/);
    });

    test("a data folder that another server holds", async () => {
      (await run({ argv: ["serve", "--port", "0", "--data", server.data] })).failed(7, /\d+/);
    });

    test("a data folder that cannot be written", async () => {
      const data = path.join(unwritableFolder(), "data");
      (await run({ argv: ["serve", "--port", "0", "--data", data] })).failed(7, /data folder/);
    });

    test("a data folder of a newer version, and a damaged one", async () => {
      const stopped = await TestServer.start();
      await stopped.stop();
      const file = storeFile(stopped.data);
      const whole = readFileSync(file);
      const store = new DatabaseSync(file);
      store.exec("PRAGMA user_version = 9999");
      store.close();
      (await run({ argv: ["serve", "--port", "0", "--data", stopped.data] })).failed(7, /newer|update/);
      writeFileSync(file, whole.fill(0x5a, 100, Math.min(whole.length, 20_000)));
      (await run({ argv: ["serve", "--port", "0", "--data", stopped.data] })).failed(7, /damaged|corrupt/);
    });

    test("half a certificate, and a host name that is none", async () => {
      const data = path.join(createFolder("server"), "data");
      (await run({ argv: ["serve", "--port", "0", "--data", data, "--cert", "x.pem"] })).failed(2, /--key/);
      (await run({ argv: ["serve", "--port", "0", "--data", data, "--host", "https://example.org"] })).failed(
        2,
        /--host/,
      );
    });

    test("an invite from a folder where no server has been", async () => {
      (await run({ argv: ["invite", "--data", path.join(createFolder("server"), "data")] })).failed(7, /sotto serve/);
    });

    test("an invite is made without the server, too", async () => {
      const stopped = await TestServer.start();
      await stopped.stop();
      const made = (await run({ argv: ["invite", "--data", stopped.data] })).succeeded();
      assert.match(made.stdout, /^https:\/\/.+#[0-9a-f]{64}\.[0-9a-f]{32}\n$/);
    });

    test(
      "a full disk: what was not stored is not acknowledged, and it heals by itself",
      { skip: !canMount() },
      async () => {
        const folder = createFolder("full");
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", folder]);
        try {
          const full = await TestServer.start({ data: path.join(folder, "data"), argv: ["--rate-factor", "100"] });
          const heidi = await Person.register("heidi", full);
          const ivan = await Person.register("ivan", full);
          (await heidi.run("send", "@ivan", "while there was room")).succeeded();
          const ballast = path.join(folder, "ballast");
          execFileSync("sh", ["-c", `cat /dev/zero > '${ballast}' 2>/dev/null || true`]);
          // What the server had reserved may take a few; then it has to refuse.
          const states: unknown[] = [];
          const large = "x".repeat(50_000);
          while (states.at(-1) !== "sending" && states.length < 60) {
            const sent = await heidi.runWithInput(
              `${states.length} ${large}`,
              "send",
              "@ivan",
              "-",
              "--wait",
              "accepted",
              "--timeout",
              "2",
              "--json",
            );
            states.push(sent.row["state"]);
            assert.equal(sent.exitCode, sent.row["state"] === "accepted" ? 0 : 5, sent.describe());
          }
          assert.equal(states.at(-1), "sending", "the disk was never full");
          writeFileSync(ballast, "");
          const sent = await heidi.run("send", "@ivan", "there is room again", "--wait", "accepted", "--json");
          assert.equal(sent.succeeded().row["state"], "accepted");
          const received = (await ivan.run("inbox", "--json"))
            .succeeded()
            .rows.map(({ text }) => String(text).slice(0, 18));
          const expected = states.map((_, index) => `${index} ${large}`.slice(0, 18));
          assert.deepEqual(received, ["while there was ro", ...expected, "there is room agai"]);
          await full.stop();
        } finally {
          execFileSync("umount", ["-l", folder]);
        }
      },
    );
  });
});

/** The SQLite file of a folder. */
function storeFile(folder: string): string {
  const file = readdirSync(folder).find(
    (name) => readFileSync(path.join(folder, name)).toString("latin1", 0, 15) === "SQLite format 3",
  );
  assert.ok(file, `no store in ${folder}: ${readdirSync(folder).join(" ")}`);
  return path.join(folder, file);
}

function overwriteStore(folder: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(storeFile(folder));
  change(bytes);
  writeFileSync(storeFile(folder), bytes);
}

function copyHome(home: string): string {
  const copy = path.join(createFolder("copy"), "home");
  mkdirSync(copy, { mode: 0o700 });
  for (const name of readdirSync(home)) {
    const file = path.join(home, name);
    if (statSync(file).isFile()) copyFileSync(file, path.join(copy, name));
  }
  return copy;
}

/** Closed by its mode, or, for root, whom no mode stops, no folder at all. */
function unwritableFolder(): string {
  if (isRoot) return "/dev/null";
  const folder = createFolder("read-only");
  chmodSync(folder, 0o500);
  return folder;
}

function canMount(): boolean {
  if (!isRoot || process.platform !== "linux") return false;
  const folder = createFolder("mount");
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], { stdio: "ignore" });
    execFileSync("umount", [folder], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
