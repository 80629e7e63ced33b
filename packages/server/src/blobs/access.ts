/**
 * Who may move blobs: tokens of devices, and the transfers under way with them. A token lives for minutes and in memory alone;
 * when its device is revoked or logs out it is worth nothing from that moment, and what it was moving is cut off.
 */
import { type AccountId, type DeviceId, limits, type Random, toHex } from "@sotto/protocol";

/** The tokens of a device that count at the same time: one for each of its sessions of late. */
const tokensPerDeviceMax = 4;

export interface BlobCaller {
  readonly account: AccountId;
  readonly accountKey: string;
  readonly deviceKey: string;
}

export interface BlobAccess {
  issue(caller: { account: AccountId; device: DeviceId }): { token: Uint8Array; expiresAt: number };
  /** Whose token this is, in hexadecimal; undefined if it is nobody's any more. */
  find(token: string): BlobCaller | undefined;
  /**
   * Counts a transfer until the returned function is called; undefined if there are as many as may be. `cut` is called when
   * the device may no more.
   */
  begin(caller: BlobCaller, cut: () => void): (() => void) | undefined;
  /** From now on the device's tokens are worth nothing. */
  revoke(device: DeviceId): void;
  /** Transfers under way. */
  readonly transfers: number;
}

interface Token {
  readonly caller: BlobCaller;
  readonly expiresAtMs: number;
}

export function createBlobAccess(options: {
  random: Random;
  /** Milliseconds since 1970, for the answer; and milliseconds that never go back, for the limit. */
  now: () => number;
  monotonicMs: () => number;
  /** Multiplies the maxima; 1 but for benchmarks. */
  factor: number;
}): BlobAccess {
  const { random, now, monotonicMs, factor } = options;
  const tokens = new Map<string, Token>();
  const tokensByDevice = new Map<string, string[]>();
  const cutsByDevice = new Map<string, Set<() => void>>();
  const transfersByAccount = new Map<string, number>();
  let transfers = 0;

  function forget(deviceKey: string, isOver: (token: Token) => boolean): void {
    const left = (tokensByDevice.get(deviceKey) ?? []).filter((key) => {
      const over = isOver(tokens.get(key)!);
      if (over) tokens.delete(key);
      return !over;
    });
    if (left.length === 0) tokensByDevice.delete(deviceKey);
    else tokensByDevice.set(deviceKey, left);
  }

  /** Tokens expire in the order in which they were made. */
  function forgetExpired(): void {
    for (const [, token] of tokens) {
      if (token.expiresAtMs > monotonicMs()) return;
      forget(token.caller.deviceKey, ({ expiresAtMs }) => expiresAtMs <= monotonicMs());
    }
  }

  return {
    issue({ account, device }) {
      forgetExpired();
      const deviceKey = toHex(device);
      const own = tokensByDevice.get(deviceKey) ?? [];
      if (own.length >= tokensPerDeviceMax) tokens.delete(own.shift()!);
      const token = random.bytes(32);
      const key = toHex(token);
      // Ids are views into the frame that brought them; these stay.
      const caller = { account: account.slice(), accountKey: toHex(account), deviceKey };
      tokens.set(key, { caller, expiresAtMs: monotonicMs() + limits.blobTokenMs });
      tokensByDevice.set(deviceKey, [...own, key]);
      return { token, expiresAt: now() + limits.blobTokenMs };
    },

    find(token) {
      const found = tokens.get(token);
      return found !== undefined && found.expiresAtMs > monotonicMs() ? found.caller : undefined;
    },

    begin({ accountKey, deviceKey }, cut) {
      const count = transfersByAccount.get(accountKey) ?? 0;
      if (count >= limits.blobTransfersPerAccountMax * factor || transfers >= limits.blobTransfersMax * factor)
        return undefined;
      transfersByAccount.set(accountKey, count + 1);
      transfers++;
      const cuts = cutsByDevice.get(deviceKey) ?? new Set();
      cutsByDevice.set(deviceKey, cuts.add(cut));
      return () => {
        if (!cuts.delete(cut)) return;
        if (cuts.size === 0 && cutsByDevice.get(deviceKey) === cuts) cutsByDevice.delete(deviceKey);
        transfers--;
        const left = transfersByAccount.get(accountKey)! - 1;
        if (left === 0) transfersByAccount.delete(accountKey);
        else transfersByAccount.set(accountKey, left);
      };
    },

    revoke(device) {
      const deviceKey = toHex(device);
      forget(deviceKey, () => true);
      for (const cut of cutsByDevice.get(deviceKey) ?? []) cut();
    },

    get transfers() {
      return transfers;
    },
  };
}
