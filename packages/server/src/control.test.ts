import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { askServer, openControl, type ServerStatus } from "./control.ts";
import { silentLog } from "./log.ts";
import { ServerError } from "./server-error.ts";

const root = mkdtempSync(join(tmpdir(), "sotto-control-"));
after(() => rmSync(root, { recursive: true }));

const answers = {
  invite: ({ uses }: { uses?: number }) => Promise.resolve({ link: `link for ${uses ?? 1}` }),
  reports: ({ after }: { after: number }) => Promise.resolve({ reports: [{ number: after + 1 }] }),
  deleteReports: ({ upTo }: { upTo: number }) => Promise.resolve({ deleted: upTo }),
  status: () => Promise.reject<ServerStatus>(new Error("broken")),
};

test("programs of the same user ask the running server", async () => {
  const folder = join(root, "a");
  mkdirSync(folder);
  await using _ = await openControl(folder, answers, silentLog);
  assert.deepEqual(await askServer(folder, { do: "invite", uses: 3 }), { link: "link for 3" });
  assert.deepEqual(await askServer(folder, { do: "reports", after: 4 }), { reports: [{ number: 5 }] });
  assert.deepEqual(await askServer(folder, { do: "deleteReports", upTo: 2 }), { deleted: 2 });
  assert.equal(statSync(join(folder, "control.sock")).mode & 0o777, 0o600);
});

test("a folder whose path is too long for a socket works too", { skip: process.platform !== "linux" }, async () => {
  const folder = join(root, "long".repeat(30));
  mkdirSync(folder);
  await using _ = await openControl(folder, answers, silentLog);
  assert.deepEqual(await askServer(folder, { do: "invite" }), { link: "link for 1" });
});

test("a program that stays connected does not hold up the stopping", async () => {
  const folder = join(root, "idle");
  mkdirSync(folder);
  const control = await openControl(folder, answers, silentLog);
  const idle = connect(join(folder, "control.sock"));
  await once(idle, "connect");
  await askServer(folder, { do: "invite" });
  const startedMs = performance.now();
  await control[Symbol.asyncDispose]();
  assert.ok(performance.now() - startedMs < 1_000);
  idle.destroy();
});

test("a server that does not run, or cannot answer, is told apart", async () => {
  const folder = join(root, "b");
  await assert.rejects(
    askServer(folder, { do: "status" }),
    (error) => error instanceof ServerError && error.code === "not-running",
  );
  mkdirSync(folder);
  await using _ = await openControl(folder, answers, silentLog);
  await assert.rejects(
    askServer(folder, { do: "status" }),
    (error) => error instanceof ServerError && error.code === "internal",
  );
});

test("a socket left behind by a server that died is replaced", async () => {
  const folder = join(root, "c");
  mkdirSync(folder);
  const first = await openControl(folder, answers, silentLog);
  await using _ = await openControl(folder, answers, silentLog);
  assert.deepEqual(await askServer(folder, { do: "invite" }), { link: "link for 1" });
  void first;
});

test("nonsense is answered, endless lines are cut", async () => {
  const folder = join(root, "d");
  mkdirSync(folder);
  await using _ = await openControl(folder, answers, silentLog);
  const say = (text: string) =>
    new Promise<string>((done) => {
      const socket = connect(join(folder, "control.sock"), () => socket.write(text));
      let heard = "";
      socket.on("data", (part) => {
        heard += part.toString();
        socket.destroy();
      });
      socket.on("error", () => {});
      socket.on("close", () => done(heard));
    });
  for (const text of ["nonsense\n", '{"do":"explode"}\n', '{"do":"invite","uses":0}\n'])
    assert.equal(JSON.parse(await say(text)).ok, false, text);
  assert.equal(await say("x".repeat(10_000)), "");
});
