/** Takes one part of a large structure, for the request on the same connection that will name it. */
import type { MethodFile } from "./method.ts";

export const stageBytes: MethodFile<"stageBytes"> =
  ({ staging }) =>
  (part, { connection }) => ({ staged: staging.stage(connection, part) });
