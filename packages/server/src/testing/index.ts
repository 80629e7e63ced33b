/** The server without its doors, for tests that play socket, clock and disk themselves. */
export { type Core, openCore } from "../core.ts";
export { openDeploymentKey } from "../deployment-key.ts";
export { Connection, type ConnectionOwner, Flusher } from "../gateway/connection.ts";
export { createMetrics } from "../metrics.ts";
export { createRateLimits } from "../rate-limits.ts";
export { readAddress } from "../addresses.ts";
export { countOf, digestOf, rangeOf } from "../blobs/headers.ts";
export { frameReader } from "../gateway/frame-reader.ts";
