/**
 * The primitives of ts-mls inside the world. The library takes WebCrypto, whose answers come from a pool of threads, in another
 * order each time; these answer at once, draw their randomness from the world's seed, and note what was encrypted under which
 * key and nonce (invariant I7).
 *
 * Two levels (crypto-level.ts), the same group logic above both. `real`: X-Wing, X25519 and Ed25519 as the standards have them
 * (RFC 9180). `stub`: KEMs and signatures of the same sizes that are a hash or two. One suite test seals here and opens with
 * the library itself.
 */
import { XWing } from "@hpke/hybridkem-x-wing";
import { ed25519, x25519 } from "./native-curves.ts";
import { isStub } from "./crypto-level.ts";
import { decryptGcm, encryptGcm, expand, extract, sha256, sha512 } from "./native-hashes.ts";
import { stubPrivateKey, stubPublicKey, stubSharedSecret } from "./stub-keys.ts";

/** Told of every encryption: where a key and nonce went twice with different bytes, the ciphertexts differ. */
export interface EncryptionWitness {
  encrypted(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array): void;
}

let witness: EncryptionWitness | undefined;

export function setEncryptionWitness(wanted: EncryptionWitness | undefined): void {
  witness = wanted;
}

/** A key as the library hands it around: bytes in a WebCrypto coat. */
class RawKey {
  readonly algorithm = { name: "raw" };
  readonly extractable = true;
  readonly usages: KeyUsage[] = [];
  readonly type: "private" | "public";
  readonly bytes: Uint8Array;

  constructor(type: "private" | "public", bytes: Uint8Array) {
    this.type = type;
    this.bytes = bytes.slice();
  }
}

const bytesOf = (key: CryptoKey): Uint8Array => (key as unknown as RawKey).bytes;

interface Kem {
  readonly id: number;
  readonly publicBytes: number;
  readonly privateBytes: number;
  derive(material: Uint8Array): Promise<{ privateKey: Uint8Array; publicKey: Uint8Array }>;
  encapsulate(publicKey: Uint8Array): Promise<{ secret: Uint8Array; output: Uint8Array }>;
  decapsulate(privateKey: Uint8Array, output: Uint8Array): Promise<Uint8Array>;
}

const randomBytes = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count));
const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const twoBytes = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);

// RFC 9180 §4
const labeledExtract =
  (hash: typeof sha256 | typeof sha512, id: Uint8Array, label: string, material: Uint8Array) => (salt: Uint8Array) =>
    extract(hash, join(text("HPKE-v1"), id, text(label), material), salt);
const labeledExpand = (
  hash: typeof sha256 | typeof sha512,
  id: Uint8Array,
  key: Uint8Array,
  label: string,
  info: Uint8Array,
  length: number,
) => expand(hash, key, join(twoBytes(length), text("HPKE-v1"), id, text(label), info), length);

const noBytes = new Uint8Array();

/** RFC 9180 §4.1, DHKEM(X25519, HKDF-SHA256) */
const x25519Kem: Kem = {
  id: 0x0020,
  publicBytes: 32,
  privateBytes: 32,
  async derive(material) {
    const id = join(text("KEM"), twoBytes(this.id));
    const key = labeledExtract(sha256, id, "dkp_prk", material)(noBytes);
    const privateKey = labeledExpand(sha256, id, key, "sk", noBytes, 32);
    return { privateKey, publicKey: x25519.getPublicKey(privateKey) };
  },
  async encapsulate(publicKey) {
    const { privateKey, publicKey: output } = await this.derive(randomBytes(32));
    return { output, secret: this.combine(x25519.getSharedSecret(privateKey, publicKey), output, publicKey) };
  },
  async decapsulate(privateKey, output) {
    return this.combine(x25519.getSharedSecret(privateKey, output), output, x25519.getPublicKey(privateKey));
  },
  combine(shared: Uint8Array, output: Uint8Array, publicKey: Uint8Array): Uint8Array {
    const id = join(text("KEM"), twoBytes(this.id));
    const key = labeledExtract(sha256, id, "eae_prk", shared)(noBytes);
    return labeledExpand(sha256, id, key, "shared_secret", join(output, publicKey), 32);
  },
} as Kem & { combine(shared: Uint8Array, output: Uint8Array, publicKey: Uint8Array): Uint8Array };

const xWing = new XWing();
const buffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;

const xWingKem: Kem = {
  id: 0x647a,
  publicBytes: 1216,
  privateBytes: 32,
  async derive(material) {
    const { privateKey, publicKey } = await xWing.deriveKeyPair(buffer(material));
    return {
      privateKey: new Uint8Array(await xWing.serializePrivateKey(privateKey)),
      publicKey: new Uint8Array(await xWing.serializePublicKey(publicKey)),
    };
  },
  async encapsulate(publicKey) {
    const recipientPublicKey = await xWing.deserializePublicKey(buffer(publicKey));
    const { enc, sharedSecret } = await xWing.encap({ recipientPublicKey, ekm: buffer(randomBytes(64)) });
    return { output: new Uint8Array(enc), secret: new Uint8Array(sharedSecret) };
  },
  async decapsulate(privateKey, output) {
    const recipientKey = await xWing.deserializePrivateKey(buffer(privateKey));
    return new Uint8Array(await xWing.decap({ recipientKey, enc: buffer(output) }));
  },
};

/** In the place of another, with its sizes. */
const stubOf = ({ id, publicBytes, privateBytes }: Kem, outputBytes: number): Kem => ({
  id,
  publicBytes,
  privateBytes,
  async derive(material) {
    const privateKey = stubPrivateKey(material);
    return { privateKey, publicKey: stubPublicKey(privateKey, publicBytes) };
  },
  async encapsulate(publicKey) {
    const output = new Uint8Array(outputBytes);
    output.set(randomBytes(32));
    return { output, secret: stubSharedSecret(publicKey, output) };
  },
  decapsulate: async (privateKey, output) => stubSharedSecret(stubPublicKey(privateKey, publicBytes), output),
});

const stubX25519Kem = stubOf(x25519Kem, 32);
const stubXWingKem = stubOf(xWingKem, 1120);

interface HpkeAlgorithm {
  readonly kem: string;
  readonly kdf: string;
  readonly aead: string;
}

/** In place of ts-mls' own `makeHpke`: HPKE in base mode (RFC 9180 §5.1). */
export async function makeHpke(algorithm: HpkeAlgorithm) {
  const kemNow = (): Kem => {
    if (algorithm.kem !== "X-Wing") return isStub() ? stubX25519Kem : x25519Kem;
    return isStub() ? stubXWingKem : xWingKem;
  };
  const hash = algorithm.kdf === "HKDF-SHA256" ? sha256 : sha512;
  const kdfId = algorithm.kdf === "HKDF-SHA256" ? 1 : 3;
  const keyLength = algorithm.aead === "AES128GCM" ? 16 : 32;
  const aeadId = keyLength === 16 ? 1 : 2;
  const nonceLength = 12;

  const schedule = (kem: Kem, secret: Uint8Array, info: Uint8Array) => {
    const id = join(text("HPKE"), twoBytes(kem.id), twoBytes(kdfId), twoBytes(aeadId));
    const context = join(
      Uint8Array.of(0),
      labeledExtract(hash, id, "psk_id_hash", noBytes)(noBytes),
      labeledExtract(hash, id, "info_hash", info)(noBytes),
    );
    const key = labeledExtract(hash, id, "secret", noBytes)(secret);
    return {
      key: labeledExpand(hash, id, key, "key", context, keyLength),
      nonce: labeledExpand(hash, id, key, "base_nonce", context, nonceLength),
      export: (exporterContext: Uint8Array, length: number) =>
        labeledExpand(
          hash,
          id,
          labeledExpand(hash, id, key, "exp", context, hash.outputLen),
          "sec",
          exporterContext,
          length,
        ),
    };
  };
  const toPair = ({ privateKey, publicKey }: { privateKey: Uint8Array; publicKey: Uint8Array }) => ({
    privateKey: new RawKey("private", privateKey),
    publicKey: new RawKey("public", publicKey),
  });
  const importKey = (type: "private" | "public", length: (kem: Kem) => number) => async (bytes: Uint8Array) => {
    if (bytes.length !== length(kemNow())) throw new TypeError(`a ${type} key of ${bytes.length} bytes`);
    return new RawKey(type, bytes);
  };

  return {
    keyLength,
    nonceLength,
    async seal(publicKey: CryptoKey, plaintext: Uint8Array, info: Uint8Array, aad = noBytes) {
      const kem = kemNow();
      const { secret, output } = await kem.encapsulate(bytesOf(publicKey));
      const { key, nonce } = schedule(kem, secret, info);
      return { enc: output, ct: encryptGcm(key, nonce, aad, plaintext) };
    },
    async open(privateKey: CryptoKey, output: Uint8Array, sealed: Uint8Array, info: Uint8Array, aad = noBytes) {
      const kem = kemNow();
      const { key, nonce } = schedule(kem, await kem.decapsulate(bytesOf(privateKey), output), info);
      return decryptGcm(key, nonce, aad, sealed);
    },
    async exportSecret(publicKey: CryptoKey, exporterContext: Uint8Array, length: number, info: Uint8Array) {
      const kem = kemNow();
      const { secret, output } = await kem.encapsulate(bytesOf(publicKey));
      return { enc: output, secret: schedule(kem, secret, info).export(exporterContext, length) };
    },
    async importSecret(
      privateKey: CryptoKey,
      exporterContext: Uint8Array,
      output: Uint8Array,
      length: number,
      info: Uint8Array,
    ) {
      const kem = kemNow();
      const secret = await kem.decapsulate(bytesOf(privateKey), output);
      return schedule(kem, secret, info).export(exporterContext, length);
    },
    importPrivateKey: importKey("private", (kem) => kem.privateBytes),
    importPublicKey: importKey("public", (kem) => kem.publicBytes),
    exportPublicKey: async (key: CryptoKey) => bytesOf(key).slice(),
    exportPrivateKey: async (key: CryptoKey) => bytesOf(key).slice(),
    deriveKeyPair: async (material: Uint8Array) => toPair(await kemNow().derive(material)),
    generateKeyPair: async () => toPair(await kemNow().derive(randomBytes(32))),
    async encryptAead(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array | undefined, plaintext: Uint8Array) {
      const sealed = encryptGcm(key, nonce, aad ?? noBytes, plaintext);
      witness?.encrypted(key, nonce, sealed);
      return sealed;
    },
    decryptAead: async (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array | undefined, sealed: Uint8Array) =>
      decryptGcm(key, nonce, aad ?? noBytes, sealed),
  };
}

/** In place of ts-mls' own `makeNobleSignatureImpl`; of its names only Ed25519 is used here. */
export async function makeNobleSignatureImpl() {
  return {
    // The library's own keys are PKCS #8, ours are seeds; the seed stands at the end of both.
    sign: async (key: Uint8Array, message: Uint8Array) => ed25519.sign(message, key.slice(-32)),
    verify: async (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) =>
      ed25519.verify(signature, message, publicKey),
    async keygen() {
      const { secretKey, publicKey } = ed25519.keygen();
      return { signKey: secretKey, publicKey };
    },
  };
}
