/**
 * Reports as the operator sees them, whether or not a server runs on the data folder: what `sotto admin reports` prints. The
 * server has checked each proof when it came; what the message says, the operator's own program reads out of it.
 */
import { toHex } from "@sotto/protocol";
import { askServer } from "./control.ts";
import { openDataFolder } from "./data-folder.ts";
import { ServerError, toServerError } from "./server-error.ts";
import type { Store } from "./store/store.ts";

export interface ShownReport {
  readonly number: number;
  readonly reportedAt: number;
  /** Names, without @. */
  readonly reporter: string;
  readonly writtenBy: string;
  /** Hexadecimal, as is the proof (protocol/message-proof.ts). */
  readonly device: string;
  readonly proof: string;
  readonly note: string;
}

/** A proof may be a hundred kilobytes. */
export const reportsPerPage = 20;

type ReportStore = Pick<Store, "listReports" | "deleteReports" | "getAccount">;

/** The oldest first, at most `reportsPerPage` of those after a number. */
export async function showReports(store: ReportStore, after: number): Promise<ShownReport[]> {
  const nameOf = async (account: Uint8Array) => (await store.getAccount(account))?.name ?? toHex(account);
  const found = await store.listReports(after, reportsPerPage);
  return Promise.all(
    found.map(async ({ number, reportedAt, reporter, account, device, proof, note }) => ({
      number,
      reportedAt,
      reporter: await nameOf(reporter),
      writtenBy: await nameOf(account),
      device: toHex(device),
      proof: toHex(proof),
      note,
    })),
  );
}

/** @throws ServerError what opening the folder throws */
export function readReports(dataFolder: string, after: number): Promise<ShownReport[]> {
  return withServerOrStore(
    dataFolder,
    async () => (await askServer(dataFolder, { do: "reports", after })).reports as ShownReport[],
    (store) => showReports(store, after),
  );
}

/** Deletes those up to a number. @throws ServerError what opening the folder throws */
export function deleteReports(dataFolder: string, upTo: number): Promise<{ deleted: number }> {
  return withServerOrStore(
    dataFolder,
    () => askServer(dataFolder, { do: "deleteReports", upTo }),
    (store) => store.deleteReports(upTo),
  );
}

async function withServerOrStore<T>(
  dataFolder: string,
  ask: () => Promise<T>,
  read: (store: ReportStore) => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ServerError && error.code === "not-running")) throw error;
  }
  try {
    const { openSqliteStore } = await import("./store/sqlite/sqlite-store.ts");
    await using store = await openSqliteStore({ folder: openDataFolder(dataFolder) });
    return await read(store);
  } catch (error) {
    throw toServerError(error);
  }
}
