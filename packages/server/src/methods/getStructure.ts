/** One part of a structure that came by name, for a device that it is meant for. */
import { limits, ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const getStructure: MethodFile<"getStructure"> =
  ({ store }) =>
  async ({ hash, offset }, { device }) => {
    const part = await store.readStructurePart(device, { hash, offset, length: limits.structurePartBytesMax });
    if (part === undefined) throw new ProtocolError("not-found");
    return part;
  };
