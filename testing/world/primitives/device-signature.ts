/** In place of the server's own `isSignedByDevice`, which asks OpenSSL past everything that is replaced here. */
import { ed25519 } from "./native-curves.ts";

export function isSignedByDevice(signatureKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return signatureKey.length === 32 && ed25519.verify(signature, message, signatureKey);
}
