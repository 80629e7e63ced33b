/** The primitives of attachments in a browser: AES by WebCrypto. Its SHA-256 wants everything at once, so that one is JavaScript's. */
import { type AttachmentCiphers, nobleCiphers } from "@sotto/e2ee";

/** The key of the file at hand: a file has a thousand pieces. */
let imported: { bytes: Uint8Array; key: Promise<CryptoKey> } | undefined;

function keyOf(bytes: Uint8Array): Promise<CryptoKey> {
  if (imported?.bytes !== bytes)
    imported = {
      bytes,
      key: crypto.subtle.importKey("raw", new Uint8Array(bytes), "AES-GCM", false, ["encrypt", "decrypt"]),
    };
  return imported.key;
}

export const browserCiphers: AttachmentCiphers = {
  async seal(key, iv, plaintext, into) {
    const algorithm = { name: "AES-GCM", iv: new Uint8Array(iv) };
    into.set(new Uint8Array(await crypto.subtle.encrypt(algorithm, await keyOf(key), new Uint8Array(plaintext))));
  },
  async open(key, iv, sealed, into) {
    const algorithm = { name: "AES-GCM", iv: new Uint8Array(iv) };
    into.set(new Uint8Array(await crypto.subtle.decrypt(algorithm, await keyOf(key), new Uint8Array(sealed))));
  },
  createHash: () => nobleCiphers.createHash(),
};
