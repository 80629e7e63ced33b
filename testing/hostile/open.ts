/** The way to the lies for a process that has not loaded anything of the product yet, as for the world's plans. */
import { openWorld } from "../world/open.ts";

export async function openLies() {
  await openWorld();
  return import("./lied-to.ts");
}
