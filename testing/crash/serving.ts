/**
 * A server in a process of its own, to be killed: opens a data folder, prints a line of JSON once it listens, and serves.
 *
 *     node serving.ts DATA PORT
 */
import { writeSync } from "node:fs";
import { createServer } from "@sotto/server";

const [data = "", port = "0"] = process.argv.slice(2);
const server = await createServer({ data, port, rateFactor: "1000" });
const { user, system } = process.cpuUsage();
writeSync(1, `${JSON.stringify({ port: server.port, cpuMs: (user + system) / 1000 })}\n`);
