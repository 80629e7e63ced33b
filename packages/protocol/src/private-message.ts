/**
 * The header of an MLS PrivateMessage (RFC 9420 §6.3), all that the server sees of a message: which group, which epoch, which
 * kind of content. Written by hand and apart from mls-public.ts, because every message passes here and a server that only
 * carries messages need not load ts-mls.
 */
export interface PrivateMessageHeader {
  /** A view into the bytes that were read. */
  readonly groupId: Uint8Array;
  readonly epoch: number;
  readonly contentType: "application" | "proposal" | "commit";
}

const contentTypes = [undefined, "application", "proposal", "commit"] as const;

/**
 * The header of a PrivateMessage (RFC 9420 §6.3), read in place: every message passes here, so nothing is copied. The rest is
 * only measured, and has to end where the bytes end.
 */
export function readPrivateMessage(bytes: Uint8Array): PrivateMessageHeader | undefined {
  // version mls10 = 1, wire format mls_private_message = 2
  if (bytes.length < 16 || bytes[0] !== 0 || bytes[1] !== 1 || bytes[2] !== 0 || bytes[3] !== 2) return undefined;
  let at = 4;
  /** Moves past one `opaque<V>` (RFC 9420 §2.1.2) and returns where its content begins, or -1. */
  const skipVector = (): number => {
    const first = bytes[at];
    if (first === undefined || first >= 0xc0) return -1;
    const size = first < 0x40 ? 1 : first < 0x80 ? 2 : 4;
    if (at + size > bytes.length) return -1;
    let length = first & 0x3f;
    for (let i = 1; i < size; i++) length = length * 256 + bytes[at + i]!;
    // The shortest form only, as RFC 9420 asks: else one message could be written in several ways.
    if ((size === 2 && length < 0x40) || (size === 4 && length < 0x4000)) return -1;
    const begin = at + size;
    if (begin + length > bytes.length) return -1;
    at = begin + length;
    return begin;
  };

  const groupIdBegin = skipVector();
  if (groupIdBegin < 0 || at + 9 > bytes.length) return undefined;
  const groupId = bytes.subarray(groupIdBegin, at);
  let epoch = 0;
  for (let i = 0; i < 8; i++) epoch = epoch * 256 + bytes[at + i]!;
  const contentType = contentTypes[bytes[at + 8]!];
  if (!Number.isSafeInteger(epoch) || contentType === undefined) return undefined;
  at += 9;
  // authenticated data, encrypted sender data, ciphertext
  if (skipVector() < 0 || skipVector() < 0 || skipVector() < 0 || at !== bytes.length) return undefined;
  return { groupId, epoch, contentType };
}
