/**
 * The deployment key: an Ed25519 pair made with the data folder that names this deployment for good. Clients pin it at first
 * contact; it signs the TLS key of the day, so that a server may change that without frightening anybody. It signs
 * nothing else, and never a message or a group change.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { tlsKeyBytes } from "@sotto/protocol";
import { readSecretFile, writeSecretFile } from "./data-folder.ts";
import { ServerError } from "./server-error.ts";

const keyFile = "deployment.key";

export interface DeploymentKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The 64-byte signature over a TLS key's SPKI hash. */
  signTlsKey(spkiSha256: Uint8Array): Uint8Array;
}

/** @throws ServerError */
export function openDeploymentKey(folder: string): DeploymentKey {
  const privateKey = loadOrMakeKey(folder);
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  const publicKey = new Uint8Array(Buffer.from(x!, "base64url"));
  return { publicKey, signTlsKey: (spkiSha256) => new Uint8Array(sign(null, tlsKeyBytes(spkiSha256), privateKey)) };
}

function loadOrMakeKey(folder: string): KeyObject {
  const pem = readSecretFile(folder, keyFile);
  if (pem === undefined) {
    const { privateKey } = generateKeyPairSync("ed25519");
    writeSecretFile(folder, keyFile, privateKey.export({ format: "pem", type: "pkcs8" }));
    return privateKey;
  }
  try {
    const key = createPrivateKey(Buffer.from(pem));
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Told below, in the same words as a key of another kind.
  }
  throw new ServerError(
    "data-corrupt",
    `${folder}/${keyFile} is not an Ed25519 key; restore it from a backup (without it nobody can log in)`,
  );
}
