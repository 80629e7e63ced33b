/**
 * Limits of the world, so small that people reach them within minutes. Import it before everything that reads `limits` while
 * it is loaded.
 */
import { limits } from "@sotto/protocol";

Object.assign(limits, {
  // A last resort is handed out as soon as a handful of people wrote first.
  keyPackagesPerDeviceTarget: 2,
  keyPackagesRefillBelow: 1,
  // A weekend away makes a device fall behind.
  deviceBacklogEntriesMax: 40,
  // Catching up takes turns.
  unackedEntriesMax: 12,
});
