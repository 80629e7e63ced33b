import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as tls from "node:tls";
import { readConfig } from "./config.ts";
import { openDeploymentKey } from "./deployment-key.ts";
import { type Log, silentLog } from "./log.ts";
import { ServerError } from "./server-error.ts";
import { systemRandom } from "./system-random.ts";
import { openTls, type TlsIdentity } from "./tls.ts";

/** With a store that forgets; what it remembers is tried in testing/server/start-and-stop.test.ts. */
const openKey = (folder: string) =>
  openDeploymentKey(folder, { getSetting: async () => undefined, putSetting: async () => {} });

const folders: string[] = [];
const newFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), "sotto-tls-"));
  folders.push(folder);
  return folder;
};
after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

const open = (
  folder: string,
  input: Record<string, unknown> = {},
  changed: (identity: TlsIdentity) => void = () => {},
  log: Log = silentLog,
) =>
  openTls({
    config: readConfig({ data: folder, ...input }),
    folder,
    random: systemRandom,
    now: Date.now,
    log,
    changed,
  });

test("a self-made certificate names the machine and every --host", () => {
  const certificate = new X509Certificate(
    open(newFolder(), { hosts: ["chat.example.org", "203.0.113.7", "2001:db8::17"] }).current.cert,
  );
  for (const name of ["localhost", "chat.example.org"]) assert.equal(certificate.checkHost(name), name);
  for (const address of ["127.0.0.1", "::1", "203.0.113.7", "2001:db8::17"])
    assert.notEqual(certificate.checkIP(address), undefined, address);
  assert.equal(certificate.checkHost("other.example.org"), undefined);
  assert.equal(certificate.ca, false);
});

test("openssl accepts a self-made certificate under its strictest rules", (t) => {
  if (spawnSync("openssl", ["version"]).error) return t.skip("no openssl on this machine");
  const folder = newFolder();
  open(folder);
  const file = join(folder, "tls.crt");
  assert.match(
    execFileSync("openssl", ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", file, file]).toString(),
    /OK/,
  );
});

test("Node connects to a self-made certificate by name and address when told to trust it", async () => {
  const { current } = open(newFolder());
  const server = tls.createServer({ key: current.key, cert: current.cert, minVersion: "TLSv1.3" }, (socket) =>
    socket.end(),
  );
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as { port: number };
  for (const host of ["localhost", "127.0.0.1"]) {
    const options: tls.ConnectionOptions = { host: "127.0.0.1", port, ca: current.cert };
    if (host === "localhost") options.servername = host;
    const socket = tls.connect(options);
    await once(socket, "secureConnect");
    assert.equal(socket.authorized, true);
    assert.equal(socket.getProtocol(), "TLSv1.3");
    socket.destroy();
  }
  server.close();
});

test("the key stays when host names change, and so does the fingerprint", () => {
  const folder = newFolder();
  const first = open(folder).current;
  const again = open(folder).current;
  assert.equal(again.cert, first.cert);
  const renamed = open(folder, { hosts: ["chat.example.org"] }).current;
  assert.notEqual(renamed.cert, first.cert);
  assert.equal(renamed.key, first.key);
  assert.deepEqual(renamed.spkiSha256, first.spkiSha256);
});

test("a certificate whose days end is renewed while the server runs", () => {
  const folder = newFolder();
  let nowMs = Date.now();
  const changes: TlsIdentity[] = [];
  const config = readConfig({ data: folder });
  using identity = openTls({
    config,
    folder,
    random: systemRandom,
    now: () => nowMs,
    log: silentLog,
    changed: (next) => changes.push(next),
  });
  const first = identity.current;
  identity.reload();
  assert.equal(changes.length, 0);
  nowMs += 250 * 24 * 60 * 60 * 1000;
  identity.reload();
  assert.equal(changes.length, 1);
  assert.ok(Date.parse(new X509Certificate(identity.current.cert).validTo) > nowMs + 390 * 24 * 60 * 60 * 1000);
  assert.deepEqual(identity.current.spkiSha256, first.spkiSha256);
});

test("secret files are for their owner alone", async () => {
  const folder = newFolder();
  open(folder);
  await openKey(folder);
  for (const name of ["tls.key", "tls.crt", "deployment.key"])
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
});

test("a damaged key is refused, never replaced in silence", async () => {
  const folder = newFolder();
  for (const [name, load] of [
    ["tls.key", async () => open(folder)],
    ["deployment.key", () => openKey(folder)],
  ] as const) {
    writeFileSync(join(folder, name), "damaged");
    await assert.rejects(load, (error) => error instanceof ServerError && error.code === "data-corrupt");
    assert.equal(readFileSync(join(folder, name), "utf8"), "damaged");
  }
});

test("the operator's certificate is taken, and again when its files change; a broken pair keeps the one before", () => {
  const [a, b, folder] = [newFolder(), newFolder(), newFolder()];
  const [first, second] = [open(a).current, open(b).current];
  const [certFile, keyFile] = [join(folder, "c.pem"), join(folder, "k.pem")];
  const copy = (from: string) => {
    copyFileSync(join(from, "tls.crt"), certFile);
    copyFileSync(join(from, "tls.key"), keyFile);
  };
  copy(a);
  const changes: TlsIdentity[] = [];
  const errors: string[] = [];
  using identity = open(folder, { certFile, keyFile }, (next) => changes.push(next), {
    ...silentLog,
    error: (event) => errors.push(event),
  });
  assert.deepEqual(identity.current.spkiSha256, first.spkiSha256);

  copyFileSync(join(b, "tls.crt"), certFile);
  utimesSync(certFile, 1, 1);
  identity.reload();
  assert.equal(changes.length, 0, "a certificate that does not fit the key is not taken");
  assert.equal(errors.length, 1);

  copyFileSync(join(b, "tls.key"), keyFile);
  utimesSync(keyFile, 2, 2);
  identity.reload();
  assert.deepEqual(changes[0]?.spkiSha256, second.spkiSha256);
  assert.deepEqual(identity.current.spkiSha256, second.spkiSha256);
});

test("files that are not a certificate and its key are refused with what to check", () => {
  const folder = newFolder();
  const file = join(folder, "x");
  writeFileSync(file, "x");
  chmodSync(file, 0o600);
  for (const certFile of [file, join(folder, "missing")]) {
    assert.throws(
      () => open(folder, { certFile, keyFile: file }),
      (error) =>
        error instanceof ServerError && error.code === "certificate-invalid" && /check --cert/.test(error.message),
    );
  }
});
