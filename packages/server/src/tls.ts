/**
 * The server's TLS identity: a self-made certificate over a key that stays, or the operator's own files. Clients pin the
 * key's SPKI, so a self-made certificate is made anew for other host names, addresses or dates without anybody noticing.
 * The operator's files are read again when they change; a pair that does not fit keeps the one in use.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { createSecureContext } from "node:tls";
import type { Random } from "@sotto/protocol";
import { makeCertificate } from "./certificate.ts";
import type { Config } from "./config.ts";
import { readSecretFile, writeSecretFile } from "./data-folder.ts";
import { describeError, type Log } from "./log.ts";
import { ServerError, systemCode } from "./server-error.ts";

const keyFile = "tls.key";
const certificateFile = "tls.crt";
const dayMs = 24 * 60 * 60 * 1000;
// Chromium refuses end certificates of more than 398 days where it checks them at all; half of the time is left to renew.
const certificateLifetimeMs = 397 * dayMs;
const renewBelowMs = 200 * dayMs;
const fileCheckIntervalMs = 10_000;
const selfMadeCheckIntervalMs = dayMs / 4;

export interface TlsIdentity {
  readonly key: string;
  readonly cert: string;
  /** SHA-256 of the SPKI: the fingerprint. */
  readonly spkiSha256: Uint8Array;
}

export interface Tls extends Disposable {
  readonly current: TlsIdentity;
  /** Looks whether another identity is due; happens by itself every now and then. */
  reload(): void;
}

interface TlsOptions {
  readonly config: Config;
  readonly folder: string;
  readonly random: Random;
  readonly now: () => number;
  readonly log: Log;
  /** Called with each new identity after the first. */
  readonly changed: (identity: TlsIdentity) => void;
}

/** @throws ServerError `certificate-invalid` if the operator's files are not a key and its certificate */
export function openTls({ config, folder, random, now, log, changed }: TlsOptions): Tls {
  const { certFile, keyFile: ownKeyFile } = config;
  return certFile === undefined || ownKeyFile === undefined
    ? openSelfMade(() => selfMade(folder, config.hosts, random, now()), log, changed)
    : openFiles(certFile, ownKeyFile, log, changed);
}

/** Made again when the machine has other addresses or the certificate's days end; the key stays. */
function openSelfMade(make: () => TlsIdentity, log: Log, changed: (identity: TlsIdentity) => void): Tls {
  let current = make();
  const reload = () => {
    try {
      const next = make();
      if (next.cert === current.cert) return;
      current = next;
      changed(next);
      log.info("certificate renewed");
    } catch (error) {
      log.error("certificate not renewed, the one before stays in use", describeError(error));
    }
  };
  return watch(() => current, reload, selfMadeCheckIntervalMs);
}

function openFiles(certFile: string, keyFileOfCert: string, log: Log, changed: (identity: TlsIdentity) => void): Tls {
  let current = readPair(certFile, keyFileOfCert);
  let stamp = stampOf(certFile, keyFileOfCert);
  const reload = () => {
    try {
      const seen = stampOf(certFile, keyFileOfCert);
      if (seen === stamp) return;
      // A half-written pair is looked at again after its next change; the stamp is taken before the read.
      stamp = seen;
      const next = readPair(certFile, keyFileOfCert);
      if (next.cert === current.cert && next.key === current.key) return;
      current = next;
      changed(next);
      log.info("certificate reloaded");
    } catch (error) {
      log.error("certificate not reloaded, the one before stays in use", describeError(error));
    }
  };
  return watch(() => current, reload, fileCheckIntervalMs);
}

function watch(current: () => TlsIdentity, reload: () => void, intervalMs: number): Tls {
  const timer = setInterval(reload, intervalMs).unref();
  return {
    get current() {
      return current();
    },
    reload,
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** The names and addresses under which this machine can be reached, for the certificate and the first screen. */
export function machineHosts(): { names: string[]; addresses: string[] } {
  const addresses = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !/^fe80:/i.test(address) && isIP(address) !== 0)
    .map(({ address }) => address);
  // A machine's name may hold what a certificate cannot.
  const names = [hostname().toLowerCase()].filter((name) => /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.test(name));
  return { names, addresses: [...new Set(addresses)] };
}

function selfMade(folder: string, hosts: readonly string[], random: Random, nowMs: number): TlsIdentity {
  const privateKey = loadOrMakeKey(folder);
  const publicKey = createPublicKey(privateKey);
  const { names, addresses } = machineHosts();
  const wanted = [...new Set([...hosts, "localhost", ...names, "127.0.0.1", "::1", ...addresses])];
  const key = privateKey.export({ format: "pem", type: "pkcs8" });
  const spkiSha256 = spkiHash(publicKey);

  const kept = readSecretFile(folder, certificateFile)?.toString();
  if (kept !== undefined && isStillGood(kept, publicKey, wanted, nowMs)) return { key, cert: kept, spkiSha256 };
  const cert = makeCertificate({
    privateKey,
    publicKey,
    commonName: hosts[0] ?? names[0] ?? "localhost",
    hosts: wanted,
    // A client whose clock is a little behind accepts it too.
    notBeforeMs: nowMs - dayMs,
    notAfterMs: nowMs - dayMs + certificateLifetimeMs,
    serial: random.bytes(16),
  });
  writeSecretFile(folder, certificateFile, cert);
  return { key, cert, spkiSha256 };
}

function loadOrMakeKey(folder: string): KeyObject {
  const pem = readSecretFile(folder, keyFile);
  if (pem === undefined) {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writeSecretFile(folder, keyFile, privateKey.export({ format: "pem", type: "pkcs8" }));
    return privateKey;
  }
  try {
    const key = createPrivateKey(Buffer.from(pem));
    if (key.asymmetricKeyDetails?.namedCurve === "prime256v1") return key;
  } catch {
    // Told below, in the same words as a key of another kind.
  }
  throw new ServerError(
    "data-corrupt",
    `${folder}/${keyFile} is not a P-256 key; restore it from a backup, or move it away (clients will then warn of a new key)`,
  );
}

function isStillGood(pem: string, publicKey: KeyObject, wanted: readonly string[], nowMs: number): boolean {
  try {
    const certificate = new X509Certificate(pem);
    const from = Date.parse(certificate.validFrom);
    const until = Date.parse(certificate.validTo);
    return (
      certificate.publicKey.equals(publicKey) &&
      from <= nowMs &&
      until - nowMs > renewBelowMs &&
      wanted.every((host) => (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined)
    );
  } catch {
    return false;
  }
}

function readPair(certFile: string, ownKeyFile: string): TlsIdentity {
  const [cert, key] = [certFile, ownKeyFile].map((path) => {
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      throw new ServerError(
        "certificate-invalid",
        `cannot read ${path} (${systemCode(cause) ?? "unknown"}); check --cert and --key`,
        cause,
      );
    }
  }) as [string, string];
  try {
    createSecureContext({ cert, key });
    return { cert, key, spkiSha256: spkiHash(new X509Certificate(cert).publicKey) };
  } catch (cause) {
    throw new ServerError(
      "certificate-invalid",
      `${certFile} and ${ownKeyFile} are not a certificate and its key (PEM); check --cert and --key`,
      cause,
    );
  }
}

function stampOf(...paths: string[]): string {
  return paths
    .map((path) => {
      const { mtimeMs, size, ino } = statSync(path);
      return `${mtimeMs}/${size}/${ino}`;
    })
    .join(" ");
}

function spkiHash(publicKey: KeyObject): Uint8Array {
  return new Uint8Array(
    createHash("sha256")
      .update(publicKey.export({ format: "der", type: "spki" }))
      .digest(),
  );
}
