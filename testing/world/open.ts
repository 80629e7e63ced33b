/**
 * The way into the world for a process that has not loaded anything of the product yet: hooks, clock and randomness first, then
 * the small limits, then everything else, which has to come by `import()`.
 */
import "./simulated-process.ts";

export async function openWorld() {
  await import("./small-limits.ts");
  const [{ runPlan }, { makePlan, planOf }, { shrink }] = await Promise.all([
    import("./world.ts"),
    import("./plan.ts"),
    import("./shrink.ts"),
  ]);
  return { runPlan, makePlan, planOf, shrink };
}
