/** `@sotto/client`: the SDK. Programs on Node start with `openHome` of `@sotto/client/node`. */
export type * from "./api.ts";
export { type ClientOptions, createClient } from "./client.ts";
export { readRecoveryCode } from "./devices.ts";
export { ClientError, type ClientFailureCode, type FailureKind } from "./errors.ts";
export { type Block, type Inline, parseMarkdown } from "./markdown.ts";
export type * from "./platform.ts";
export { TransportError } from "./platform.ts";
export { readReportedMessage } from "./reports.ts";
export { currentStretching, stretchings } from "./stretching.ts";
export { defaultPort, formatAddress, parseAddress } from "./server-pin.ts";
export { type Storage, StorageError } from "./storage/storage.ts";
