/**
 * The device's key packages: what others need to add it to a group while it is away. Fifty a suite wait on the server, with one
 * last resort that is never used up; their private halves are on disk before they are published (docs/encryption.md, rule 6).
 */
import { type CreatedKeyPackage, type Suite, createKeyPackage, decodeDeviceKeys } from "@sotto/e2ee";
import { ProtocolError, type Result, limits, toHex } from "@sotto/protocol";
import type { Session } from "./connection/session.ts";
import type { Platform } from "./platform.ts";
import { type AccountRecord, type KeyPackageRecord, decodeRecord, encodeRecord, keys } from "./records.ts";
import type { State, Transaction } from "./state.ts";

/** How many key packages a device keeps on the server, by suite; X-Wing is what conversations use unless told otherwise. */
export const keyPackageTargets: readonly { suite: Suite; target: number; refillBelow: number }[] = [
  { suite: 83, target: limits.keyPackagesPerDeviceTarget, refillBelow: limits.keyPackagesRefillBelow },
  { suite: 1, target: 10, refillBelow: 4 },
];

export type KeyPackageCount = Result<"authenticate">["keyPackages"][number];

export class KeyPackages {
  readonly #state: State;
  readonly #platform: Platform;
  #refilling = false;

  constructor(options: { state: State; platform: Platform }) {
    this.#state = options.state;
    this.#platform = options.platform;
  }

  /** After signing in: the server names every suite of which it has something; of the others it has nothing. */
  async refillAll(own: AccountRecord, request: Session["request"], counts: readonly KeyPackageCount[]): Promise<void> {
    const all = keyPackageTargets.map(
      ({ suite }) => counts.find((count) => count.suite === suite) ?? { suite, available: 0, lastResortUsed: true },
    );
    await this.refill(own, request, all);
  }

  /** One refill at a time: what is announced while one runs has been counted before it. */
  async refill(own: AccountRecord, request: Session["request"], counts: readonly KeyPackageCount[]): Promise<void> {
    if (this.#refilling) return;
    this.#refilling = true;
    try {
      const wanted = keyPackageTargets.flatMap(({ suite, target, refillBelow }) => {
        const { available, lastResortUsed } = counts.find((count) => count.suite === suite) ?? {
          available: target,
          lastResortUsed: false,
        };
        if (available >= refillBelow && !lastResortUsed) return [];
        return [{ suite, count: available < refillBelow ? target - available : 0, lastResort: lastResortUsed }];
      });
      if (wanted.length === 0) return;
      await this.#forgetOld(wanted.flatMap(({ suite, lastResort }) => (lastResort ? [suite] : [])));
      const packages = await createKeyPackages(own, this.#platform, wanted);
      await this.#state.transact((transaction) => {
        for (const made of packages) putKeyPackage(transaction, made);
      });
      try {
        await request("publishKeyPackages", toPublish(packages));
      } catch (error) {
        // A definite no: nobody will ever use them.
        if (error instanceof ProtocolError && !error.retryable) {
          await this.#state.transact((transaction) => {
            for (const { made } of packages) transaction.delete(keys.keyPackage(toHex(made.ref)));
          });
        }
        throw error;
      }
    } finally {
      this.#refilling = false;
    }
  }

  /** Private halves that no Welcome can use any more. @param replaced suites whose last resort is about to be replaced */
  async #forgetOld(replaced: readonly number[]): Promise<void> {
    const stored = await this.#state.readPrefix(keys.keyPackage(""));
    // A Welcome may have been waiting on the server for as long as the server keeps anything.
    const before = this.#platform.clock.now() - limits.entryRetentionMs;
    await this.#state.transact((transaction) => {
      for (const { key, value } of stored) {
        const record = decodeRecord<KeyPackageRecord>(value);
        const { notAfter, lastResort, replacedAt, suite } = record;
        if (lastResort ? replacedAt !== undefined && replacedAt < before : notAfter < before) transaction.delete(key);
        else if (lastResort && replacedAt === undefined && replaced.includes(suite)) {
          transaction.put(key, encodeRecord({ ...record, replacedAt: this.#platform.clock.now() }));
        }
      }
    });
  }
}

export async function createKeyPackages(
  own: AccountRecord,
  platform: Platform,
  wanted: readonly { suite: Suite; count: number; lastResort: boolean }[],
): Promise<{ made: CreatedKeyPackage; suite: Suite; lastResort: boolean }[]> {
  const device = decodeDeviceKeys(own.deviceKeys);
  const all: { made: CreatedKeyPackage; suite: Suite; lastResort: boolean }[] = [];
  for (const { suite, count, lastResort } of wanted) {
    for (let i = 0; i < count + (lastResort ? 1 : 0); i++) {
      const last = i === count;
      const made = await createKeyPackage({
        device,
        account: own.account,
        certificate: own.certificate,
        suite,
        notBeforeMs: platform.clock.now(),
        lastResort: last,
      });
      all.push({ made, suite, lastResort: last });
    }
  }
  return all;
}

export function putKeyPackage(
  transaction: Transaction,
  { made, suite, lastResort }: { made: CreatedKeyPackage; suite: Suite; lastResort: boolean },
): void {
  const record: KeyPackageRecord = {
    suite,
    bytes: made.bytes,
    privateBytes: made.privateBytes,
    notAfter: made.notAfterMs,
    lastResort,
  };
  transaction.put(keys.keyPackage(toHex(made.ref)), encodeRecord(record));
}

export function toPublish(packages: readonly { made: CreatedKeyPackage; suite: Suite; lastResort: boolean }[]) {
  const rows = (lastResort: boolean) =>
    packages.filter((one) => one.lastResort === lastResort).map(({ made, suite }) => ({ suite, bytes: made.bytes }));
  return { keyPackages: rows(false), lastResorts: rows(true) };
}
