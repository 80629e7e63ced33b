/**
 * A self-made X.509 certificate (RFC 5280) for a P-256 key: just the DER that it takes, signed with node:crypto. It is its
 * own authority and says so nowhere (CA:FALSE): clients pin the key, they do not trust the certificate. Passes
 * `openssl verify -x509_strict`, Node and Chromium.
 */
import { createHash, type KeyObject, sign } from "node:crypto";
import { isIP } from "node:net";

interface CertificateOptions {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly commonName: string;
  /** DNS names and IP addresses, as text. */
  readonly hosts: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** 16 random bytes. */
  readonly serial: Uint8Array;
}

/** The certificate as PEM. */
export function makeCertificate(options: CertificateOptions): string {
  const spki = options.publicKey.export({ format: "der", type: "spki" });
  const algorithm = sequence(objectId("1.2.840.10045.4.3.2")); // ecdsa-with-SHA256
  const name = sequence(set(sequence(objectId("2.5.4.3"), tagged(0x0c, Buffer.from(options.commonName.slice(0, 64))))));
  // RFC 5280 §4.2.1.2 method 1: SHA-1 over the bit string of the key, a name for it and no security.
  const keyId = createHash("sha1").update(spki.subarray(-65)).digest();
  const body = sequence(
    tagged(0xa0, integer(Buffer.of(2))), // version 3
    integer(options.serial),
    algorithm,
    name,
    sequence(time(options.notBeforeMs), time(options.notAfterMs)),
    name,
    spki,
    tagged(
      0xa3,
      sequence(
        extension("2.5.29.19", true, sequence()), // basicConstraints: no CA
        extension("2.5.29.15", true, tagged(0x03, Buffer.of(7, 0x80))), // keyUsage: digitalSignature
        extension("2.5.29.37", false, sequence(objectId("1.3.6.1.5.5.7.3.1"))), // extKeyUsage: serverAuth
        extension("2.5.29.14", false, tagged(0x04, keyId)), // subjectKeyIdentifier
        extension("2.5.29.35", false, sequence(tagged(0x80, keyId))), // authorityKeyIdentifier
        extension("2.5.29.17", false, sequence(...options.hosts.map(generalName))), // subjectAltName
      ),
    ),
  );
  const signature = sign("sha256", body, { key: options.privateKey, dsaEncoding: "der" });
  const der = sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.of(0), signature])));
  const lines = der.toString("base64").replace(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function tagged(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

const sequence = (...parts: Uint8Array[]) => tagged(0x30, ...parts);
const set = (...parts: Uint8Array[]) => tagged(0x31, ...parts);

function integer(bytes: Uint8Array): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const minimal = bytes.subarray(from);
  return tagged(0x02, minimal[0]! & 0x80 ? Buffer.concat([Buffer.of(0), minimal]) : minimal);
}

function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const septets = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80);
    bytes.push(...septets);
  }
  return tagged(0x06, Buffer.from(bytes));
}

/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
function time(atMs: number): Buffer {
  const text = `${new Date(atMs).toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;
  return new Date(atMs).getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(text.slice(2)))
    : tagged(0x18, Buffer.from(text));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectId(id), ...(critical ? [tagged(0x01, Buffer.of(0xff))] : []), tagged(0x04, value));
}

function generalName(host: string): Buffer {
  return isIP(host) === 0 ? tagged(0x82, Buffer.from(host, "latin1")) : tagged(0x87, addressBytes(host));
}

/** The 4 or 16 bytes of an IP address. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split(".").map(Number));
  const mapped = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((word) => word.toString(16)).join(":"),
  );
  const [before = "", after] = mapped.split("::");
  const words = (text: string) => (text === "" ? [] : text.split(":").map((word) => Number.parseInt(word, 16)));
  const head = words(before);
  const tail = after === undefined ? [] : words(after);
  const all = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}
