/**
 * How many sessions an account has, against its limit, and which devices may have none any more. Who is online and what
 * they are sent is delivery's; a device's earlier session is ended there too.
 */
import { limits } from "@sotto/protocol";
import type { Connection } from "./connection.ts";

export class Sessions {
  readonly #byAccount = new Map<string, Set<Connection>>();
  readonly #perAccountMax: number;
  /** Devices that were revoked while this process ran. */
  readonly #revoked = new Set<string>();

  /** `factor` multiplies the maximum; 1 but for benchmarks. */
  constructor(factor: number) {
    this.#perAccountMax = limits.socketsPerAccountMax * factor;
  }

  /** Whether the account may have one more session; a device's own earlier one makes room. */
  hasRoom(accountKey: string, deviceKey: string): boolean {
    const sessions = this.#byAccount.get(accountKey);
    if (sessions === undefined || sessions.size < this.#perAccountMax) return true;
    return [...sessions].some(({ identity }) => identity.kind === "device" && identity.deviceKey === deviceKey);
  }

  /**
   * From now on the device gets no session, also if it was found active a moment ago and is only just proving itself. What
   * was revoked before the start of this process stands in the store.
   */
  revoke(deviceKey: string): void {
    this.#revoked.add(deviceKey);
  }

  isRevoked(deviceKey: string): boolean {
    return this.#revoked.has(deviceKey);
  }

  add(accountKey: string, connection: Connection): void {
    const sessions = this.#byAccount.get(accountKey);
    if (sessions === undefined) this.#byAccount.set(accountKey, new Set([connection]));
    else sessions.add(connection);
  }

  remove(connection: Connection): void {
    const { identity } = connection;
    if (identity.kind !== "device") return;
    const sessions = this.#byAccount.get(identity.accountKey);
    if (sessions?.delete(connection) === true && sessions.size === 0) this.#byAccount.delete(identity.accountKey);
  }
}
