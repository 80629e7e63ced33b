/**
 * Sotto in a browser: IndexedDB and the origin's private files, the platform's WebSocket, fetch and WebCrypto. Meant to run in a worker, where the third of a second
 * that a password takes to stretch stops nothing.
 */
import type { Clock, PasswordProtocol, Platform } from "./platform.ts";
import { browserCiphers } from "./browser/ciphers.ts";
import { browserFiles } from "./browser/files.ts";
import { browserHttps } from "./browser/https.ts";
import { browserTransport } from "./browser/transport.ts";
import { openBrowserStorage } from "./storage/browser-storage.ts";

export { createClient } from "./client.ts";

const clock: Clock = {
  now: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };

/** Half a megabyte of WebAssembly, loaded only to register or to log in. */
const password: PasswordProtocol = {
  startRegistration: async (value) => (await import("./password.ts")).passwordProtocol.startRegistration(value),
  finishRegistration: async (options) => (await import("./password.ts")).passwordProtocol.finishRegistration(options),
  startLogin: async (value) => (await import("./password.ts")).passwordProtocol.startLogin(value),
  finishLogin: async (options) => (await import("./password.ts")).passwordProtocol.finishLogin(options),
};

/** Everything that the engine needs, over the databases called `name`. @throws StorageError */
export async function openBrowserPlatform(name: string, program: string): Promise<Platform> {
  return {
    clock,
    random,
    transport: browserTransport,
    storage: await openBrowserStorage(name),
    password,
    files: browserFiles(name),
    https: browserHttps,
    ciphers: browserCiphers,
    program,
  };
}
