/** Replaces the account vault, if nobody else did since the caller read it, and tells the account's other devices. */
import { encodeEvent, ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const putAccountVault: MethodFile<"putAccountVault"> =
  ({ store, delivery, now }) =>
  async ({ version, bytes, signature }, { account, device }) => {
    const writtenAt = now();
    const outcome = await store.putAccountVault(account, { version, bytes, device, signature, writtenAt });
    if (outcome === "conflict") throw new ProtocolError("conflict");
    delivery.pushToAccount(account, encodeEvent(0, "accountVaultChanged", { version }), device);
    return { writtenAt };
  };
