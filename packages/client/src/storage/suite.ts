/**
 * Runs the cases of suite-cases.ts under node:test: the one test that every adapter of Storage shares.
 */
import { describe, test } from "node:test";

import { storageCases } from "./suite-cases.ts";
import type { StorageUnderTest } from "./suite-cases.ts";

/** @param open makes an empty store, another one each time */
export function storageSuite(name: string, open: () => Promise<StorageUnderTest>): void {
  describe(`a ${name} store`, () => {
    for (const { title, run } of storageCases) {
      test(title, async () => {
        const underTest = await open();
        try {
          await run(underTest);
        } finally {
          await underTest.dispose();
        }
      });
    }
  });
}
