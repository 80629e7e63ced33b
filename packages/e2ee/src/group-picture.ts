/**
 * A group's picture as it travels in its profile: small, and of a type that its first bytes tell. Nobody decodes it on the way;
 * whoever shows it treats it like any other file from somebody else.
 */
export const pictureBytesMax = 16 * 1024;

export type PictureType = "image/png" | "image/jpeg" | "image/webp";

/** Undefined for anything that is none of the three. */
export function pictureTypeOf(bytes: Uint8Array): PictureType | undefined {
  const begins = (at: number, ...expected: number[]) => expected.every((byte, offset) => bytes[at + offset] === byte);
  if (begins(0, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return "image/png";
  if (begins(0, 0xff, 0xd8, 0xff)) return "image/jpeg";
  if (begins(0, 0x52, 0x49, 0x46, 0x46) && begins(8, 0x57, 0x45, 0x42, 0x50)) return "image/webp";
  return undefined;
}

export function isPicture(bytes: unknown, type: unknown): bytes is Uint8Array {
  return bytes instanceof Uint8Array && bytes.length <= pictureBytesMax && pictureTypeOf(bytes) === type;
}
