/** Versions of the protocol that this build speaks, newest first, and how one is agreed on in `hello`. */
export const versions = [1] as const;

/** The WebSocket subprotocol of every version (RFC 6455 §1.9). */
export const subprotocol = "sotto.v1";

/** Where the WebSocket is opened. */
export const streamPath = "/v1/stream";

/** Under which path every blob is, by its id in hexadecimal. */
export const blobsPath = "/v1/blobs/";

/** The newest version that both sides speak, or undefined. */
export function negotiateVersion(offered: readonly number[]): number | undefined {
  return versions.find((version) => offered.includes(version));
}
