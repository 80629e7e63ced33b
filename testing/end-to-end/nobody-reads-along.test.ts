/**
 * Canaries: strings that would betray a leak, sent through every flow, then looked for where they must not be: the server's disk, its log,
 * the wire, and what other users of the machine can see of a process.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import path from "node:path";
import { before, describe, test } from "node:test";
import { Person, TestServer } from "./harness.ts";

const messageCanary = "canary-message-7f3d92c1";
const answerCanary = "kanarienvogel-ünïcödé-5521";
const passwordCanary = "canary password 88aa17 zinnober";

/** Every form in which a text could lie around. */
function formsOf(text: string): { form: string; bytes: Buffer }[] {
  const utf8 = Buffer.from(text);
  const forms = [
    { form: "UTF-8", bytes: utf8 },
    { form: "UTF-16", bytes: Buffer.from(text, "utf16le") },
    { form: "hexadecimal", bytes: Buffer.from(utf8.toString("hex")) },
  ];
  // Base64 looks different at each of three offsets; the middle of it does not depend on what surrounds it.
  for (let offset = 0; offset < 3; offset++) {
    const encoded = Buffer.concat([Buffer.alloc(offset), utf8])
      .toString("base64")
      .replace(/=+$/, "");
    forms.push({ form: `base64, offset ${offset}`, bytes: Buffer.from(encoded.slice(4, -4)) });
  }
  return forms;
}

function assertAbsent(where: string, content: Buffer, canaries: readonly string[]): void {
  for (const canary of canaries) {
    for (const { form, bytes } of formsOf(canary)) {
      assert.equal(content.indexOf(bytes), -1, `“${canary}” is in ${where}, as ${form}`);
    }
  }
}

/** Passes bytes on, and keeps them. */
async function tap(port: number): Promise<{ port: number; server: Server; recorded: () => Buffer }> {
  const chunks: Buffer[] = [];
  const server = createServer((near: Socket) => {
    const far = connect(port, "localhost");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        to.write(chunk);
      });
      from.on("close", () => to.destroy());
      from.on("error", () => to.destroy());
    }
  });
  await new Promise<void>((done) => server.listen(0, "localhost", done));
  // A test that failed must not keep the process.
  server.unref();
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { port: address.port, server, recorded: () => Buffer.concat(chunks) };
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => path.join(folder, name))
    .filter((file) => statSync(file).isFile());
}

describe("nobody reads along", { concurrency: false }, () => {
  let server: TestServer;
  let wire: Awaited<ReturnType<typeof tap>>;
  const alice = new Person("alice", passwordCanary);
  const bob = new Person("bob", passwordCanary);

  before(async () => {
    // Whoever comes through the tap does not count as local.
    server = await TestServer.start({ argv: ["--registration", "open", "--strangers", "allow"] });
    wire = await tap(server.facts.port);
    for (const person of [alice, bob]) {
      (await person.runWithPassword("register", person.name, "--server", `localhost:${wire.port}`)).succeeded();
    }
    (await alice.run("send", "@bob", messageCanary)).succeeded();
    assert.match((await bob.run("inbox")).succeeded().stdout, new RegExp(messageCanary));
    (await bob.run("send", "@alice", answerCanary)).succeeded();
    (await alice.run("inbox")).succeeded();
    (await bob.run("logout")).succeeded();
    const mallory = new Person("mallory", "a wrong password entirely");
    (await mallory.runWithPassword("login", "bob", "--server", `localhost:${wire.port}`)).failed(
      4,
      /password is not right/,
    );
    (await bob.runWithPassword("login", "bob")).succeeded();
  });

  const canaries = [messageCanary, answerCanary, passwordCanary];

  test("the search would find a canary in every form", () => {
    for (const { form, bytes } of formsOf(messageCanary)) {
      const content = Buffer.concat([Buffer.from("before"), bytes, Buffer.from("after")]);
      assert.throws(() => assertAbsent("a test", content, canaries), new RegExp(form.slice(0, 6)));
    }
  });

  test("not in the server's data folder, also after a kill", async () => {
    await server.kill();
    const files = filesIn(server.data);
    assert.ok(files.length >= 4, files.join(" "));
    for (const file of files) assertAbsent(file, readFileSync(file), canaries);
    await server.start();
    (await alice.run("send", "@bob", `${messageCanary} again`)).succeeded();
  });

  test("not on the wire", () => {
    const bytes = wire.recorded();
    assert.ok(bytes.length > 10_000);
    assertAbsent("the wire", bytes, canaries);
    wire.server.close();
  });

  test("not in the server's log, which holds no names either", async () => {
    await server.stop();
    assert.ok(server.log.length > 100);
    assertAbsent("the log", Buffer.from(server.log), canaries);
    assert.doesNotMatch(server.log, /alice|mallory|\bbob\b/);
  });

  test("not readable in the client's folder either, which is closed to others", () => {
    for (const person of [alice, bob]) {
      assert.equal(statSync(person.home).mode & 0o077, 0);
      for (const file of filesIn(person.home)) {
        assert.equal(statSync(file).mode & 0o077, 0, file);
        assertAbsent(file, readFileSync(file), canaries);
      }
    }
  });

  test("keys and data of the server are closed to others", () => {
    assert.equal(statSync(server.data).mode & 0o077, 0);
    for (const file of filesIn(server.data)) assert.equal(statSync(file).mode & 0o077, 0, file);
  });
});
