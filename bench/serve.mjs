/**
 * The server of a benchmark, in a process of its own: `node serve.mjs PORT DATA CERT KEY RATE_FACTOR`. JavaScript, so that
 * memory and start are those of the compiled server and not of a type stripper.
 */
import { createLog, createServer, runUntilStopped } from "@sotto/server";

const [port, data, certFile, keyFile, rateFactor] = process.argv.slice(2);
const log = createLog({ format: "json", write: (line) => process.stdout.write(`${line}\n`), now: Date.now });
const server = await createServer(
  { port, data, listen: "127.0.0.1", hosts: ["localhost"], certFile, keyFile, rateFactor, localRegistration: false },
  { log },
);
await runUntilStopped(server, log);
