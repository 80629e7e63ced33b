/**
 * The engine's suite for a browser to run, over sealed IndexedDB: testing/browser/engine.test.ts takes this file into one and
 * names the server in the page's query.
 */
import { openBrowserPlatform } from "../browser.ts";
import { type Disk, engineSuite } from "./engine-suite.ts";

let disksMade = 0;

engineSuite("chromium", async () => {
  const server = new URLSearchParams(location.search).get("server");
  if (server === null) throw new Error("the page's query names no server");
  const createDisk = async (): Promise<Disk> => {
    const name = `engine-${disksMade++}`;
    // The browser's profile goes with the run, so nothing is removed.
    return { open: () => openBrowserPlatform(name, "sotto engine suite"), dispose: async () => {} };
  };
  return { createDisk, server };
});
