/**
 * What stands for an encrypted message: the header of an MLS PrivateMessage (RFC 9420 §6.3) as the server reads it, then
 * bytes of the size that ts-mls makes of a short text. The ciphertext begins with the benchmark's own text, so that the
 * receiver can tell which message it was.
 */
const encryptedSenderDataBytes = 28;
const tagBytes = 16;

export interface Envelope {
  /** A message whose ciphertext starts with `payload` (ASCII). */
  wrap(payload: string): Uint8Array;
}

/** For messages of epoch 1 of a conversation. */
export function createEnvelope(conversation: Uint8Array): Envelope {
  const head = Buffer.concat([
    Buffer.from([0, 1, 0, 2, 24]),
    conversation,
    Buffer.alloc(8),
    // Epoch 1; content type application; no authenticated data; encrypted sender data.
    Buffer.from([0, 0, 0, 0, 0, 0, 0, 1, 1, 0, encryptedSenderDataBytes]),
    Buffer.alloc(encryptedSenderDataBytes, 0xa5),
  ]);
  return {
    wrap(payload) {
      const length = payload.length + tagBytes;
      const bytes = Buffer.allocUnsafe(head.length + 2 + length);
      head.copy(bytes);
      // A vector of 64 to 16,383 bytes has a length of two (RFC 9420 §2.1.2).
      bytes.writeUInt16BE(0x4000 | length, head.length);
      bytes.write(payload, head.length + 2, "latin1");
      bytes.fill(0x5a, bytes.length - tagBytes);
      return bytes;
    },
  };
}

const payloadAt = 5 + 24 + 8 + 1 + 1 + 1 + encryptedSenderDataBytes + 2;

/** The payload of a message that `wrap` made, which stands at `from` in `bytes` and is `length` long. */
export const readPayload = (bytes: Buffer, from: number, length: number): string =>
  bytes.toString("latin1", from + payloadAt, from + length - tagBytes);
