/** Agrees on a version and says which deployment this is, before anything else. */
import { negotiateVersion, ProtocolError, toHex } from "@sotto/protocol";
import { strangersFor } from "../accounts/strangers.ts";
import type { MethodFile } from "./method.ts";

const challengeBytes = 32;

export const hello: MethodFile<"hello"> = ({ config, deploymentKey, registration, random, now }) => {
  // A signature a connection would be work that anybody could ask for; there are only as many keys as certificates.
  let signed: { key: string; signature: Uint8Array } | undefined;
  const signatureOf = (spkiSha256: Uint8Array) => {
    const key = toHex(spkiSha256);
    if (signed?.key !== key) signed = { key, signature: deploymentKey.signTlsKey(spkiSha256) };
    return signed.signature;
  };

  return ({ versions }, { connection }) => {
    const version = negotiateVersion(versions);
    if (version === undefined) throw new ProtocolError("unsupported-version");
    connection.version = version;
    connection.challenge ??= random.bytes(challengeBytes);
    return {
      version,
      deployment: deploymentKey.publicKey,
      tlsKeySignature: signatureOf(connection.tls.spkiSha256),
      challenge: connection.challenge,
      registration: registration.policyFor(connection),
      strangers: strangersFor(config, connection),
      timeMs: now(),
    };
  };
};
