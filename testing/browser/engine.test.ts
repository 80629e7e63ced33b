/** The engine's suite in a real browser, against a real server with its self-made certificate. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseFingerprint } from "@sotto/protocol";
import { createServer } from "@sotto/server";
import { type Surroundings, testInChromium } from "./run-in-chromium.ts";

testInChromium("the engine, in Chromium", {
  entry: import.meta.resolve("../../packages/client/src/testing/engine-in-browser.ts"),
  // The policy of the web client: OPAQUE's WebAssembly is all that it needs beyond scripts of its own, and HTTPS for attachments.
  headers: {
    "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src wss: https:",
  },
  limitMs: 200_000,
  prepare: startServer,
});

async function startServer(origin: string): Promise<Surroundings> {
  const folder = await mkdtemp(path.join(tmpdir(), "sotto-engine-browser-"));
  const server = await createServer({
    port: "0",
    data: path.join(folder, "data"),
    rateFactor: "100",
    origins: [origin],
  });
  // Chromium trusts this one key and nothing else that no authority vouches for.
  const key = parseFingerprint(server.fingerprint)!.toBase64();
  return {
    chromiumArguments: [`--ignore-certificate-errors-spki-list=${key}`],
    query: { server: `localhost:${server.port}` },
    async [Symbol.asyncDispose]() {
      await server.stop();
      await rm(folder, { recursive: true });
    },
  };
}
