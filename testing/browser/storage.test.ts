import path from "node:path";
import { testInChromium } from "./run-in-chromium.ts";

testInChromium("the browser's stores, in Chromium", {
  entry: path.join(import.meta.dirname, "../../packages/client/src/testing/storage-in-browser.ts"),
});
