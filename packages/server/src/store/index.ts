/** The store for programs that put data into a folder whose server is stopped: benchmarks and tests of whole systems. */
export { openSqliteStore, type SqliteStore } from "./sqlite/sqlite-store.ts";
export * from "./store.ts";
