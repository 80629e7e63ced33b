/**
 * The deployment key: an Ed25519 pair made with the data folder that names this deployment for good. Clients pin it at first
 * contact; it signs the TLS key of the day, so that a server may change that without frightening anybody. It signs
 * nothing else, and never a message or a group change. The store remembers which key it was: one that is lost or put in its
 * place would lock everybody out, so it is never made anew where clients may have pinned the old one.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { sameBytes, tlsKeyBytes } from "@sotto/protocol";
import { readSecretFile, writeSecretFile } from "./data-folder.ts";
import { ServerError } from "./server-error.ts";
import type { Store } from "./store/store.ts";

const keyFile = "deployment.key";
const keySetting = "deployment-key";

export interface DeploymentKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The 64-byte signature over a TLS key's SPKI hash. */
  signTlsKey(spkiSha256: Uint8Array): Uint8Array;
}

/** @throws ServerError `data-corrupt` if the key is lost, damaged or another deployment's */
export async function openDeploymentKey(
  folder: string,
  store: Pick<Store, "getSetting" | "putSetting">,
): Promise<DeploymentKey> {
  const known = await store.getSetting(keySetting);
  const privateKey = loadKey(folder) ?? makeKey(folder, known);
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  const publicKey = new Uint8Array(Buffer.from(x!, "base64url"));
  if (known === undefined) await store.putSetting(keySetting, publicKey);
  else if (!sameBytes(known, publicKey)) throw lost(folder, "belongs to another store");
  return { publicKey, signTlsKey: (spkiSha256) => new Uint8Array(sign(null, tlsKeyBytes(spkiSha256), privateKey)) };
}

function makeKey(folder: string, known: Uint8Array | undefined): KeyObject {
  if (known !== undefined) throw lost(folder, "is missing");
  const { privateKey } = generateKeyPairSync("ed25519");
  writeSecretFile(folder, keyFile, privateKey.export({ format: "pem", type: "pkcs8" }));
  return privateKey;
}

function loadKey(folder: string): KeyObject | undefined {
  const pem = readSecretFile(folder, keyFile);
  if (pem === undefined) return undefined;
  try {
    const key = createPrivateKey(Buffer.from(pem));
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Told below, in the same words as a key of another kind.
  }
  throw lost(folder, "is not an Ed25519 key");
}

function lost(folder: string, what: string): ServerError {
  return new ServerError(
    "data-corrupt",
    `${folder}/${keyFile} ${what}; restore it from a backup: without it clients refuse this server and nobody can log in`,
  );
}
