/** The engine's suite on Node: sealed and plain stores in memory, and a real server over TLS. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { after } from "node:test";
import { nodePlatform } from "@sotto/client/node";
import { type Disk, engineSuite, MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import { createServer, type Server } from "@sotto/server";

const folder = mkdtempSync(path.join(tmpdir(), "sotto-engine-"));
let server: Server | undefined;

after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

engineSuite("node", async () => {
  server = await createServer({ port: "0", data: path.join(folder, "data"), rateFactor: "100" });
  const createDisk = async (): Promise<Disk> => {
    const disk = new MemoryDisk();
    return { open: async () => nodePlatform(await openMemoryStorage(disk)), dispose: async () => {} };
  };
  return { createDisk, server: `localhost:${server.port}` };
});
