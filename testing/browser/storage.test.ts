import { testInChromium } from "./run-in-chromium.ts";

testInChromium("the browser's stores, in Chromium", {
  entry: import.meta.resolve("../../packages/client/src/testing/storage-in-browser.ts"),
});
