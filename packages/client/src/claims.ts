/**
 * Taking somebody's key packages, so that their devices can be let in: one of each. The server hands each out once and not often;
 * what it hands out for somebody must be theirs, or it is said aloud, because nobody but the server could offer another.
 */
import { type Suite, chainDevice } from "@sotto/e2ee";
import { ProtocolError, sameBytes } from "@sotto/protocol";
import { readKeyPackage } from "@sotto/protocol/mls-public";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { ClientError } from "./errors.ts";

/**
 * Key packages of an account's devices, whose chain is fetched with them; none if it has no device, of none that was removed.
 * @throws ClientError `device-unknown`, `rate-limited`; ProtocolError for other refusals
 */
export async function claimKeyPackages(
  { connection, contacts }: { connection: () => Connection; contacts: Contacts },
  account: Uint8Array,
  suite: Suite,
): Promise<Uint8Array[]> {
  const claimed = await claim(connection(), contacts.nameOf(account), account, suite);
  await contacts.fetch([account]);
  const chain = contacts.chain(account);
  const usable: Uint8Array[] = [];
  for (const bytes of claimed) {
    const offered = await readKeyPackage(bytes);
    if (!offered || !sameBytes(offered.account, account)) throw deviceUnknown(contacts, account);
    // Removed since it was handed out.
    const isRemoved = chain && chainDevice(chain, offered.device)?.revokedN !== undefined;
    if (!isRemoved) usable.push(bytes);
  }
  return usable;
}

async function claim(connection: Connection, name: string, account: Uint8Array, suite: Suite): Promise<Uint8Array[]> {
  try {
    const { keyPackages } = await connection.request("claimKeyPackages", { account, suite });
    return keyPackages.map(({ bytes }) => bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    if (error.code === "no-device") return [];
    if (error.code !== "rate-limited") throw error;
    const { retryAfterMs = 0 } = error;
    const minutes = Math.max(1, Math.ceil(retryAfterMs / 60_000));
    throw new ClientError(
      "rate-limited",
      `let ${name} in: this was done too often in a short time; the server allows it again in ${minutes} ${minutes === 1 ? "minute" : "minutes"}`,
      { cause: error, retryAfterMs },
    );
  }
}

export function deviceUnknown(contacts: Contacts, account: Uint8Array, cause?: unknown): ClientError {
  const name = contacts.nameOf(account);
  return new ClientError(
    "device-unknown",
    `the server offers a device for ${name} that ${name} never named; nothing was sent`,
    { cause },
  );
}
