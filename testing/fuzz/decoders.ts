/** Every decoder of bytes that somebody else may have made. fuzz.test.ts finds those that are missing. */
import { clientDecoders } from "./client-decoders.ts";
import type { Decoder } from "./decoder.ts";
import { e2eeDecoders } from "./e2ee-decoders.ts";
import { protocolDecoders } from "./protocol-decoders.ts";
import { serverAndCliDecoders } from "./server-and-cli-decoders.ts";

export const decoders: readonly Decoder[] = [
  ...protocolDecoders,
  ...e2eeDecoders,
  ...clientDecoders,
  ...serverAndCliDecoders,
];
