/** For the tests of programs built on the SDK. */
export { type Disk, type EngineHost, engineSuite } from "./engine-suite.ts";
export { LyingServer, type WireEvent } from "./lying-server.ts";
export { JumpingClock } from "./jumping-clock.ts";
export { MortalClock } from "./mortal-clock.ts";
export { FaultyNetwork } from "./network.ts";
export { changesOf, judgeAfterCrash } from "./storage-crash-writer.ts";
export { type StorageFaults, withFaults, type WriteFault } from "./storage-faults.ts";
export { MemoryDisk, openMemoryStorage } from "../storage/memory.ts";
export { openSqliteStorage } from "../storage/sqlite.ts";
export { makeHistory } from "./made-history.ts";
export { nodeCiphers } from "../node/ciphers.ts";
export { passwordProtocol } from "../password.ts";
// What reads bytes or text of others, for the fuzzing of all of it.
export { readContent, writeContent } from "../account-vault.ts";
export { archiveEntryOf, rowOfArchiveEntry } from "../archive-entry.ts";
export { readAttempt } from "../attempt.ts";
export { safeFileName } from "../file-names.ts";
export { mediaTypeOf } from "../media-types.ts";
export { decodeRecord } from "../records.ts";
export { parseQuery } from "../search-query.ts";
export { checkPassword } from "../password-strength.ts";
